"""The names of the ablation conditions under which reward models are scored (METHOD.md section 5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rm_tension.config import EvaluateConfig

Kind = Literal["none", "all", "random", "change", "magnitude", "shared", "helpful-only", "harmless-only"]
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


def task_conditions(config: EvaluateConfig, objective: str) -> Iterator[Condition]:
    """For an RM on the benchmarks; the mixed RM's include the sets of its trio."""
    yield from (NONE, Condition("magnitude", config.task_percent))
    if objective == "mixed":
        yield from (Condition(kind, percent) for kind in SETS for percent in config.set_percents)
