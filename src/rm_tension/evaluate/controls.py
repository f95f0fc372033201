"""Ablations that the paper lacks: what else would its top neurons have to differ from?

A control is one function under `@control` (METHOD.md section 10). Its name is then a kind of
condition that params.yaml may ask for, and a row of the tables and figures on controls.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rm_tension.activations.sums import Activations
from rm_tension.evaluate.scores import backbone_score, magnitude_score
from rm_tension.evaluate.selection import Mask, top

Choose = Callable[[Mask, Mask, np.random.Generator], Mask]
DRAW = "/"  # between a control and the number of its draw, in the kind of a condition


@dataclass(frozen=True)
class Control:
    """A control as tables call it, and which neurons it takes.

    `choose` has an RM's top neurons by magnitude, those of its backbone on the same texts, and a
    generator; `of_backbone` and `drawn` say that it uses the second and the third. The neurons are
    set to zero, or, if `to_mean`, to their mean activation on the RM's training texts.
    """

    title: str
    choose: Choose
    of_backbone: bool = False
    drawn: bool = False
    to_mean: bool = False

    def kinds(self, name: str, draws: int) -> list[str]:
        """Return the kinds of its conditions: one, or one for each draw."""
        return [f"{name}{DRAW}{draw}" for draw in range(1, 1 + draws)] if self.drawn else [name]


CONTROLS: dict[str, Control] = {}  # by name


def control(
    name: str, title: str, *, of_backbone: bool = False, drawn: bool = False, to_mean: bool = False
) -> Callable[[Choose], Choose]:
    """Enter a function into CONTROLS."""

    def enter(choose: Choose) -> Choose:
        CONTROLS[name] = Control(title, choose, of_backbone, drawn, to_mean)
        return choose

    return enter


def control_of(kind: str) -> tuple[str, int]:
    """Return the name of a control and the number of the draw, from the kind of a condition."""
    name, _, draw = kind.partition(DRAW)
    return name, int(draw or 0)


def control_neurons(kind: str, activations: Activations, percent: float, seed: int) -> Mask:
    """Return the neurons that a control takes beside an RM's top p%, bool [layers, neurons].

    `kind` is that of a condition; the seed and the number in it decide what is drawn.
    """
    name, draw = control_of(kind)
    own = top(magnitude_score(activations), percent)
    of_backbone = top(backbone_score(activations), percent)
    return CONTROLS[name].choose(own, of_backbone, np.random.default_rng([seed, draw]))


@control("backbone", "Backbone's top", of_backbone=True)
def backbone(_: Mask, of_backbone: Mask, __: np.random.Generator) -> Mask:
    """Return the backbone's own top neurons: if they do the same, they are not the objective's."""
    return of_backbone


@control("new", "New neurons", of_backbone=True)
def new(own: Mask, of_backbone: Mask, _: np.random.Generator) -> Mask:
    """Return the top neurons that the backbone's do not have: what training added."""
    return own & ~of_backbone


@control("old", "As many old neurons", of_backbone=True, drawn=True)
def old(own: Mask, of_backbone: Mask, rng: np.random.Generator) -> Mask:
    """Return as many as are new of those that both have, or all if there are fewer, at random."""
    candidates = np.flatnonzero(own & of_backbone)
    size = min(int(np.count_nonzero(own & ~of_backbone)), len(candidates))
    mask = np.zeros(own.shape, dtype=bool)
    mask.flat[rng.choice(candidates, size, replace=False)] = True
    return mask


@control("depth-matched", "Depth-matched random", drawn=True)
def depth_matched(own: Mask, _: Mask, rng: np.random.Generator) -> Mask:
    """Return as many neurons of every block as the top has there, at random."""
    ranks = rng.random(own.shape).argsort(axis=1).argsort(axis=1)
    matched: Mask = ranks < own.sum(axis=1, keepdims=True)
    return matched


@control("mean-ablation", "Top, set to their mean", to_mean=True)
def mean_ablation(own: Mask, _: Mask, __: np.random.Generator) -> Mask:
    """Return the top neurons: zero is off-distribution where the mean is not zero."""
    return own
