"""Which neurons a dissection ablates, and what their ablation does to pairs and tasks."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rm_tension.activations.sums import Sums
from rm_tension.analyse.outcomes import answer_layout
from rm_tension.backbone.neurons import ablated
from rm_tension.dissect.neurons import Neurons, NeuronSet, jaccard
from rm_tension.evaluate.controls import CONTROLS, control_neurons, control_of
from rm_tension.evaluate.mean_ablation import mean_activation, set_to
from rm_tension.evaluate.scores import SCORES, backbone_score
from rm_tension.evaluate.selection import top
from rm_tension.paper.tasks import TASKS

SCORE = "magnitude"  # of the top that controls stand beside, and of what text sets share
PERCENT = 10  # of these and of the tasks
KEY = ["text_set", "kind", "percent"]  # whose statistics, by what, how much


@dataclass(frozen=True)
class Ablation:
    """Neurons to silence: chosen on a text set by a score or control, or as a set of several.

    They are set to zero, or to their `values` [layers, neurons].
    """

    text_set: str
    kind: str
    percent: float
    neurons: NeuronSet
    values: Sums | None = None

    def of(self, model: PreTrainedModel) -> AbstractContextManager[None]:
        """Silence the neurons of the model within a `with` block."""
        if self.values is None:
            return ablated(model, self.neurons.mask)
        return set_to(model, self.neurons.mask, self.values)

    @property
    def key(self) -> bytes:
        """What decides the rewards under it."""
        values = b"" if self.values is None else self.values.tobytes()
        return np.packbits(self.neurons.mask).tobytes() + values

    def label(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add KEY and the number of neurons to a table of what was scored."""
        return table.assign(
            text_set=self.text_set,
            kind=self.kind,
            percent=self.percent,
            neurons=len(self.neurons),
        )

    @property
    def on_tasks(self) -> bool:
        """Whether the tasks of the paper are scored under it, too: of draws, under the first."""
        name, draw = control_of(self.kind)
        is_other_score = name in SCORES and name != SCORE
        return self.percent == 0 or (self.percent == PERCENT and draw <= 1 and not is_other_score)


def ablations(found: Neurons, percents: Sequence[float], draws: int) -> Iterator[Ablation]:
    """Yield no ablation, the top of every score, what text sets share, and the controls."""
    shape = found.score("random", next(iter(found.statistics))).shape
    yield Ablation("", "none", 0, NeuronSet(np.zeros(shape, dtype=bool)))
    for number, text_set in enumerate(found.statistics):
        for kind in found.scores:
            is_random = kind == "random"
            if is_random and number:  # the same on all texts
                continue
            for percent in percents:
                neurons = found.top(kind, percent, text_set)
                yield Ablation("" if is_random else text_set, kind, percent, neurons)
    tops = {name: found.top(SCORE, PERCENT, name) for name in found.statistics}
    for first, second in combinations(tops, 2):
        pair = f"{first}+{second}"
        yield Ablation(pair, "shared", PERCENT, tops[first] & tops[second])
        yield Ablation(pair, f"{first}-only", PERCENT, tops[first] - tops[second])
        yield Ablation(pair, f"{second}-only", PERCENT, tops[second] - tops[first])
    for name, control in CONTROLS.items():
        if control.of_backbone and not found.has_backbone:
            continue
        for text_set, sums in found.statistics.items():
            values = mean_activation(sums) if control.to_mean else None
            for kind in control.kinds(name, draws):
                neurons = NeuronSet(control_neurons(kind, sums, PERCENT, found.seed))
                yield Ablation(text_set, kind, PERCENT, neurons, values)


def overlaps(found: Neurons, percents: Sequence[float]) -> pd.DataFrame:
    """Return what the tops of two text sets share, and those of a text set and the backbone."""
    rows = []
    for kind, percent in product([kind for kind in found.scores if kind != "random"], percents):
        tops = {name: found.top(kind, percent, name) for name in found.statistics}
        pairs = list(combinations(tops.items(), 2))
        if found.has_backbone:
            for name, own in tops.items():
                score = backbone_score(found.statistics[name])
                pairs.append(((name, own), ("backbone", NeuronSet(top(score, percent)))))
        for (first, a), (second, b) in pairs:
            rows.append((kind, percent, first, second, len(a & b), jaccard(a, b)))
    return pd.DataFrame(rows, columns=["score", "percent", "first", "second", "shared", "jaccard"])


def neuron_table(found: Neurons) -> pd.DataFrame:
    """Return text_set, layer, neuron and every score of each neuron."""
    tables = []
    for text_set in found.statistics:
        scores = {name: found.score(name, text_set) for name in found.scores}
        if found.has_backbone:
            scores["backbone"] = backbone_score(found.statistics[text_set])
        layers, neurons = scores["random"].shape
        index = pd.MultiIndex.from_product([[text_set], range(layers), range(neurons)])
        columns = {name: values.ravel() for name, values in scores.items()}
        table = pd.DataFrame(columns, index=index.set_names(["text_set", "layer", "neuron"]))
        tables.append(table.reset_index())
    return pd.concat(tables, ignore_index=True)


def summary(texts: pd.DataFrame, rewards: NDArray[np.float32]) -> pd.DataFrame:
    """Return accuracy (%), mean margin, ties and number of items of each dataset and subset.

    A margin is the lowest chosen less the highest rejected reward of an item. `texts` has the
    columns of `grid.Paths.texts`, `rewards` one number for each answer.
    """
    layout = answer_layout(texts).assign(reward=rewards)
    highest = layout[~layout["chosen"]].groupby("item")["reward"].max()
    chosen = layout[layout["chosen"]].groupby("item")
    items = chosen[["dataset", "subset"]].first()
    items["margin"] = chosen["reward"].min() - highest
    items["right"], items["tie"] = 100.0 * (items["margin"] > 0), items["margin"] == 0
    groups = items.groupby(["dataset", "subset"], sort=False)
    return groups.agg(
        items=("margin", "size"),
        accuracy=("right", "mean"),
        margin=("margin", "mean"),
        ties=("tie", "sum"),
    ).reset_index()


def with_changes(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Add the change of accuracy and margin from no ablation, of the same dataset or task."""
    before = table[table["kind"] == "none"].set_index(by)
    changes = {
        f"{name}_change": table[name] - table[by].map(before[name])
        for name in ("accuracy", "margin")
    }
    return table.assign(**changes)


def beside_controls(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the top neurons and each draw of its controls, by name in `ablated`."""
    titles = {SCORE: f"Top by {SCORE}"} | {name: one.title for name, one in CONTROLS.items()}
    names = curves["kind"].map(lambda kind: titles.get(control_of(kind)[0]))
    rows = curves.assign(ablated=names)[names.notna() & (curves["percent"] == PERCENT)]
    return rows.sort_values("ablated", key=lambda name: name.map([*titles.values()].index))


def control_table(curves: pd.DataFrame) -> pd.DataFrame:
    """Return what the top neurons and their controls change, draws as mean and standard deviation.

    The deviation is that of the draws themselves; it is missing where nothing is drawn.
    """
    groups = beside_controls(curves).groupby(["dataset", "text_set", "ablated"], sort=False)
    table = groups.agg(
        neurons=("neurons", "first"),
        draws=("kind", "size"),
        accuracy_change=("accuracy_change", "mean"),
        accuracy_spread=("accuracy_change", _spread),
        margin_change=("margin_change", "mean"),
        margin_spread=("margin_change", _spread),
    )
    return table.reset_index()


def _spread(draws: pd.Series) -> float:
    return float(draws.std(ddof=0)) if len(draws) > 1 else np.nan


def task_table(parts: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy and margin of the paper's tasks, means of their subsets' (METHOD.md 2)."""
    indexed = parts.set_index(["dataset", "subset"])
    rows = []
    for task in TASKS:
        names = [(subset.suite, subset.name) for subset in task.subsets]
        present = [name for name in names if name in indexed.index]
        if present:
            part = indexed.loc[present].groupby(KEY, sort=False)[["accuracy", "margin"]].mean()
            rows.append(part.reset_index().assign(task=task.key))
    return pd.concat(rows, ignore_index=True)
