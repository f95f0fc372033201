"""The ablation conditions under which reward models are scored (METHOD.md section 5).

Beyond the paper's own, the top neurons by mean |a| (`absolute`) are silenced beside those by the signed mean
(`magnitude`), because the paper's words and its code differ (METHOD.md section 4).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rm_tension.base.config import EvaluateConfig

COLUMNS = [
    "objective",
    "kind",
    "percent",
    "dataset",
    "item_id",
    "answer_index",
    "reward",
]  # of a table of rewards
SETS = ("shared", "helpful-only", "harmless-only")


@dataclass(frozen=True)
class Condition:
    """Which neurons are set to zero: `percent` of all by a score or a set of that name (`kind`); `none`, or `all`."""

    kind: str
    percent: int

    def __str__(self) -> str:
        """For a progress bar."""
        return f"{self.kind} {self.percent}%"


NONE = Condition("none", 0)
ALL = Condition("all", 100)


def hh_conditions(config: EvaluateConfig) -> Iterator[Condition]:
    """For every RM on its HH test sets."""
    yield from (NONE, ALL)
    yield from (
        Condition(score, percent)
        for score, percents in config.hh_percents.items()
        for percent in percents
    )


def task_conditions(config: EvaluateConfig, objective: str) -> Iterator[Condition]:
    """For an RM on the benchmarks; the mixed RM's include the sets of its trio."""
    yield NONE
    yield from (
        Condition(score, percent)
        for score, percents in config.task_percents.items()
        for percent in percents
    )
    if objective == "mixed":
        yield from (Condition(kind, percent) for kind in SETS for percent in config.set_percents)
