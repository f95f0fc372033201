"""What the paper says of the statistics that claims are decided on, as a frame like those of `evidence`."""

from collections.abc import Mapping

import pandas as pd

PRINTED_NEURON_RETENTION = 0.549  # section 5 of the paper; no table holds what it is the mean of


def published_evidence(reference: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What reference/*.csv, by stem, say of the same measures: one row.

    Pairwise retention is that of gpt2-large, the one backbone whose is published. hh_delta is read off the released
    Figure 5, mean of objectives, to 0.3 points.
    """
    magnitude = reference["ablation_magnitude_p10_average"]
    sets = reference["ablation_shared_sets"].query(
        "ablated_set != 'baseline' and task != 'average'"
    )
    retention = reference["retention"].assign(objective="mixed", kind="none")
    overlap = reference["neuron_overlap_p10"].query(
        "objective_a == 'helpful' and objective_b == 'harmless'"
    )
    retained = pd.DataFrame({"objective": ["mixed"], "value": [PRINTED_NEURON_RETENTION]})
    pairwise = reference["retention_pairwise_gpt2-large"].assign(objective="mixed", kind="none")
    curve = reference["figure_05"]
    baseline = curve[curve["percent"] == 0].set_index("objective")["accuracy"]
    hh = curve.assign(delta=curve["accuracy"] - curve["objective"].map(baseline)).query(
        "percent > 0"
    )
    found = (
        ("accuracy", magnitude.assign(kind="none"), "baseline_accuracy"),
        ("delta", magnitude.assign(kind="magnitude"), "delta"),
        ("delta", sets.assign(objective="mixed", kind=sets["ablated_set"]), "value"),
        ("retention", retention, "retention"),
        *((name, pairwise, name) for name in ("mixed_vs_helpful", "mixed_vs_harmless")),
        ("jaccard", overlap.assign(objective="helpful-harmless", kind="", task=""), "jaccard"),
        ("neuron_retention", retained.assign(kind="", task=""), "value"),
        ("hh_delta", hh.assign(objective="", kind="magnitude", task=""), "delta"),
    )
    means = [
        frame.assign(measure=measure, percent=frame.get("percent", 0))
        .groupby(["measure", "objective", "kind", "task", "percent"])[value]
        .mean()
        for measure, frame, value in found
    ]
    return pd.DataFrame([pd.concat(means)])
