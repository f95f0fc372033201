"""Loss and accuracy over the course of a training, at the same points for trainings of any length."""

import pandas as pd

POINTS = 50
MEASURES = ("loss", "accuracy", "margin")


def training_curve(history: pd.DataFrame) -> pd.DataFrame:
    """From one row per step to at most POINTS rows: progress (%, where its steps end) and the means of MEASURES."""
    steps = pd.RangeIndex(1, len(history) + 1)
    points = min(POINTS, len(history))
    part = ((steps * points - 1) // len(history) + 1).rename("progress")
    means = history[list(MEASURES)].groupby(part).mean().reset_index()
    return means.assign(progress=100 * means["progress"] / points)
