"""The ablation conditions under which reward models are scored (METHOD.md section 5).

Beyond the paper's own, the top neurons by mean |a| (`absolute`) are silenced beside those by the
signed mean (`magnitude`), because the paper's words and its code differ (METHOD.md section 4).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rm_tension.base.config import EvaluateConfig, Role
from rm_tension.evaluate.controls import CONTROLS

# Of a table of rewards
COLUMNS = [
    *("objective", "kind", "percent"),
    *("dataset", "item_id", "answer_index", "reward"),
]
# Of a table of the margins of pairs without groups of neurons (evaluate/groups.py)
MARGINS = ["objective", "score", "group", "dataset", "item_id", "margin"]
WHOLE = ("none", 0)  # score and group: without ablation
SETS = ("shared", "helpful-only", "harmless-only")


@dataclass(frozen=True)
class Condition:
    """Which neurons are ablated: a percentage of all, or a set made of such.

    `kind` is the score, set or control that chooses them, `none` or `all`.
    """

    kind: str
    percent: int

    def __str__(self) -> str:
        """Return the label for a progress bar."""
        return f"{self.kind} {self.percent}%"


NONE = Condition("none", 0)
ALL = Condition("all", 100)


def hh_conditions(config: EvaluateConfig) -> Iterator[Condition]:
    """Yield the conditions of every RM on its HH test sets."""
    yield from (NONE, ALL)
    yield from _conditions(config.hh_percents.items())
    yield from _control_conditions(config, config.controls.hh)


def task_conditions(config: EvaluateConfig, role: Role | None) -> Iterator[Condition]:
    """Yield those of an RM on the benchmarks; the mixed RM's include the sets of its trio."""
    yield NONE
    yield from _conditions(config.task_percents.items())
    yield from _control_conditions(config, config.controls.tasks)
    if role == "mixed":
        yield from _conditions((kind, config.set_percents) for kind in SETS)


def _control_conditions(config: EvaluateConfig, draws: Mapping[str, int]) -> Iterator[Condition]:
    for name, count in draws.items():
        kinds = CONTROLS[name].kinds(name, count)
        yield from _conditions((kind, config.controls.percents) for kind in kinds)


def _conditions(kinds: Iterable[tuple[str, Iterable[int]]]) -> Iterator[Condition]:
    for kind, percents in kinds:
        for percent in percents:
            yield Condition(kind, percent)
