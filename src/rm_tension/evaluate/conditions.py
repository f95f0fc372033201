"""The ablation conditions under which reward models are scored (METHOD.md section 5).

Beyond the paper's own, the top neurons by mean |a| (`absolute`) are silenced beside those by the signed mean
(`magnitude`), because the paper's words and its code differ (METHOD.md section 4).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rm_tension.base.config import EvaluateConfig

Kind = Literal["none", "all", "random", "change", "magnitude", "absolute", "shared", "helpful-only", "harmless-only"]
SETS: tuple[Kind, ...] = ("shared", "helpful-only", "harmless-only")


@dataclass(frozen=True, order=True)
class Condition:
    """Which neurons are set to zero: none, all, or a set chosen at `percent` of all neurons."""

    kind: Kind
    percent: int | None = None

    def __str__(self) -> str:
        """The name in rewards/*.parquet: `none`, `all`, `magnitude-10`, `helpful-only-5`."""
        return self.kind if self.percent is None else f"{self.kind}-{self.percent}"


NONE = Condition("none")
ALL = Condition("all")


def hh_conditions(config: EvaluateConfig) -> Iterator[Condition]:
    """For every RM on its HH test sets."""
    yield from (NONE, ALL)
    yield from (Condition(score, percent) for score in config.scores for percent in config.percents)
    yield from (Condition("absolute", percent) for percent in config.absolute_percents)


def task_conditions(config: EvaluateConfig, objective: str) -> Iterator[Condition]:
    """For an RM on the benchmarks; the mixed RM's include the sets of its trio."""
    yield NONE
    signed_percents = dict.fromkeys((config.task_percent, *config.absolute_percents))
    yield from (Condition("magnitude", percent) for percent in signed_percents)
    yield from (Condition("absolute", percent) for percent in config.absolute_percents)
    if objective == "mixed":
        yield from (Condition(kind, percent) for kind in SETS for percent in config.set_percents)
