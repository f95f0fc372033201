import pandas as pd
import pytest

from rm_tension.analyse.training_curves import POINTS, training_curve


def history(losses):
    return pd.DataFrame({"loss": losses, "accuracy": 0.5, "margin": 0.0})


def test_a_short_training_keeps_every_step():
    curve = training_curve(history([4.0, 3.0, 2.0, 1.0]))
    assert curve["progress"].tolist() == [25, 50, 75, 100]
    assert curve["loss"].tolist() == [4, 3, 2, 1]


@pytest.mark.parametrize("steps", [POINTS, POINTS + 1, 3 * POINTS, 1009])
def test_a_long_training_is_averaged_over_equal_parts(steps):
    curve = training_curve(history([float(step) for step in range(steps)]))
    assert len(curve) == POINTS
    assert curve["progress"].iloc[-1] == 100
    assert curve["loss"].is_monotonic_increasing
    # step s is part of the point whose progress is the first at or above (s + 1) / steps
    first = curve["progress"].iloc[0] / 100 * steps
    assert curve["loss"].iloc[0] == pytest.approx((int(first) - 1) / 2)
