"""Neurons of a reward model by their scores on sets of texts, and sets of them to combine."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rm_tension.activations.sums import Activations
from rm_tension.base.errors import UserError
from rm_tension.evaluate.scores import SCORES, Scores, neuron_scores
from rm_tension.evaluate.selection import Mask, top

# Why there is no score that needs what was not computed
MISSING = {
    "backbone": "; it compares with a backbone: name one",
    "attribution": "; it takes a backward pass: ask for attribution",
}


@dataclass(frozen=True, eq=False)
class NeuronSet:
    """Some neurons of a model, bool [layers, neurons]; combine sets by &, |, - and ~."""

    mask: Mask

    def __and__(self, other: "NeuronSet") -> "NeuronSet":
        return NeuronSet(self.mask & other.mask)

    def __or__(self, other: "NeuronSet") -> "NeuronSet":
        return NeuronSet(self.mask | other.mask)

    def __sub__(self, other: "NeuronSet") -> "NeuronSet":
        return NeuronSet(self.mask & ~other.mask)

    def __invert__(self) -> "NeuronSet":
        return NeuronSet(~self.mask)

    def __len__(self) -> int:
        return int(self.mask.sum())

    def __repr__(self) -> str:
        return f"{len(self):,} of {self.mask.size:,} neurons ({len(self) / self.mask.size:.1%})"


def jaccard(first: NeuronSet, second: NeuronSet) -> float:
    """Return the size of the intersection by that of the union."""
    return len(first & second) / max(len(first | second), 1)


@dataclass(frozen=True, repr=False)
class Neurons:
    """Activation statistics of a model by text set, and the scores that follow from them.

    Without a backbone there are no scores of the change from it. `seed` is that of the random score
    and of controls that are drawn.
    """

    statistics: Mapping[str, Activations]
    has_backbone: bool
    seed: int

    @property
    def scores(self) -> list[str]:
        """The names of the scores that there are."""
        is_attributed = all(one.attribution is not None for one in self.statistics.values())
        known = {None: True, "backbone": self.has_backbone, "attribution": is_attributed}
        return [name for name, score in SCORES.items() if known[score.needs]]

    @property
    def tokens(self) -> dict[str, int]:
        """The tokens of both sides by text set."""
        return {name: sum(s.tokens for s in one.sides) for name, one in self.statistics.items()}

    def score(self, name: str, text_set: str | None = None) -> Scores:
        """Return the scores of all neurons, float64 [layers, neurons], on one of the text sets.

        Without one, it is the only one. Raise UserError for a score or set that there is not.
        """
        if name not in self.scores:
            need = SCORES[name].needs if name in SCORES else None
            why = MISSING[need] if need else ""
            raise UserError(f"score {name!r}: there are {', '.join(self.scores)}{why}")
        if text_set is None and len(self.statistics) == 1:
            (text_set,) = self.statistics
        if text_set is None or text_set not in self.statistics:
            raise UserError(f"text set {text_set!r}: there are {', '.join(self.statistics)}")
        return neuron_scores(name, self.statistics[text_set], self.seed)

    def top(self, score: str, percent: float, text_set: str | None = None) -> NeuronSet:
        """Return the neurons with the highest scores, `percent` of all (METHOD.md section 4)."""
        if not 0 < percent <= 100:
            raise UserError(f"{percent}%: must be more than 0 and at most 100")
        return NeuronSet(top(self.score(score, text_set), percent))

    def __repr__(self) -> str:
        tokens = ", ".join(f"{name} ({count:,} tokens)" for name, count in self.tokens.items())
        first = next(iter(self.statistics.values()))
        layers, neurons = np.shape(first.chosen.sum)
        return f"{layers} x {neurons} neurons by {', '.join(self.scores)} on {tokens}"
