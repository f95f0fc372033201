"""Figure 1: one prompt, two answers, the rewards of a trio."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rm_tension.analyse.example import Example as Record
from rm_tension.paper.figures import COLOURS
from rm_tension.report.drawing import WIDTH, Drawing, blank
from rm_tension.report.source import Source
from rm_tension.report.tables import OBJECTIVES

LONGEST = 14  # lines of a text; the rest is cut
LINE = 0.16  # inches
SIDES = {"answer": "Chosen: the answer", "refusal": "Rejected: the refusal"}
HEADING = "One prompt, two answers, three rewards"


@dataclass(frozen=True)
class Example(Drawing):
    """Figure 1 with all that it is drawn from, for a page that shows text as text.

    `texts` are in full, by their titles; `rewards` are those of answer and refusal, by objective.
    """

    texts: dict[str, str]
    rewards: dict[str, dict[str, float]]


def example(source: Source) -> Iterator[Drawing]:
    """Figure 1; where no item fits the rule, an empty panel that says so."""
    record = source.record("example", Record)
    if record.example is None:
        figure = Figure(figsize=(WIDTH, 1.2), layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        blank(axes, "\n".join(textwrap.wrap(record.reason or "", 100)))
        yield Drawing("1", HEADING, record.rule, figure)
        return
    found = asdict(record.example)
    full = {name: visible(found[name].strip()) for name in ("prompt", *SIDES)}
    texts = {"prompt": _wrapped(full["prompt"], 104)} | {
        side: _wrapped(full[side], 50) for side in SIDES
    }
    lines = [len(texts["prompt"]), max(len(texts[side]) for side in SIDES)]
    heights = [*(LINE * (count + 2) for count in lines), 1.7]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    panels = figure.subplot_mosaic(
        [["prompt", "prompt"], list(SIDES), ["rewards", "rewards"]], height_ratios=heights
    )
    titles = {"prompt": "Prompt", **SIDES}
    for name, title in titles.items():
        _text(panels[name], title, texts[name])
    _bars(panels["rewards"], found["rewards"])
    backbone = source.backbones.get(found["backbone"], found["backbone"])
    yield Example(
        "1",
        HEADING,
        f"Item {found['item_id']} of {found['suite']}, {found['subset']}; {backbone}, seed {found['seed']}. "
        f"{record.rule} The text is from a safety benchmark and may disturb.",
        figure,
        {title: full[name] for name, title in titles.items()},
        found["rewards"],
    )


def _text(axes: Axes, title: str, lines: list[str]) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set(xticks=[], yticks=[], facecolor="0.96")
    axes.spines[:].set_visible(False)
    # data sets hold dollar signs, which are not mathematics
    place: dict[str, Any] = {
        "xycoords": "axes fraction",
        "xytext": (4, -4),
        "textcoords": "offset points",
    }
    axes.annotate("\n".join(lines), (0, 1), va="top", parse_math=False, **place)


def _bars(axes: Axes, rewards: dict[str, dict[str, float]]) -> None:
    for place, (objective, label) in enumerate(OBJECTIVES.items()):
        for side, offset, alpha in ("answer", -0.2, 1.0), ("refusal", 0.2, 0.4):
            value = rewards[objective][side]
            axes.barh(place + offset, value, 0.36, color=COLOURS[objective], alpha=alpha)
            text = f" {side} {value:+.2f} "
            axes.text(
                value, place + offset, text, va="center", ha="left" if value >= 0 else "right"
            )
        axes.text(
            -0.01, place, label, transform=axes.get_yaxis_transform(), ha="right", va="center"
        )
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color="0.45", linewidth=0.8)
    axes.margins(x=0.25)
    axes.invert_yaxis()
    axes.set_xlabel("reward")


def visible(text: str) -> str:
    """Control characters, which XML forbids, as people write them: \\x07."""
    return re.sub(
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]",
        lambda found: rf"\x{ord(found[0]):02x}",
        text,
    )


def _wrapped(text: str, width: int) -> list[str]:
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""]]
    return lines if len(lines) <= LONGEST else [*lines[: LONGEST - 1], "[...]"]
