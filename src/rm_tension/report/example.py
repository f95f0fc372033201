"""Figure 1: one prompt, two answers, the rewards of a trio."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rm_tension.analyse.example import Example as Record
from rm_tension.report.drawing import GREY, WIDTH, Drawing, blank
from rm_tension.report.source import Source

MOST_LINES = 14  # of a text; the rest is cut
LINE = 0.16  # inches
SIDES = {"answer": "Chosen: the answer", "refusal": "Rejected: the refusal"}
TITLES = {"prompt": "Prompt", **SIDES}
HEADING = "One prompt, two answers, three rewards"


@dataclass(frozen=True)
class Example(Drawing):
    """Figure 1 with all that it is drawn from, for a page that shows text as text.

    `texts` are in full, by their titles; `rewards` are those of answer and refusal, by objective.
    """

    texts: dict[str, str]
    rewards: dict[str, dict[str, float]]


def example(source: Source) -> Iterator[Drawing]:
    """Draw Figure 1; where no item fits the rule, an empty panel that says so."""
    record = source.record("example", Record)
    if record.example is None:
        figure = Figure(figsize=(WIDTH, 1.2), layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        blank(axes, "\n".join(textwrap.wrap(record.reason or "", 100)))
        yield Drawing("1", HEADING, record.rule, figure, "No item fits the rule.")
        return
    item = asdict(record.example)
    texts = {name: visible(item[name].strip()) for name in TITLES}
    backbone = source.backbones.get(item["backbone"], item["backbone"])
    yield Example(
        "1",
        HEADING,
        f"Item {item['item_id']} of {item['suite']}, {item['subset']}; {backbone}, "
        f"seed {item['seed']}. {record.rule} The text is from a safety benchmark and may disturb.",
        _figure(source, texts, item["rewards"]),
        "A prompt, two answers, and bars of their rewards by three RMs.",
        {title: texts[name] for name, title in TITLES.items()},
        item["rewards"],
    )


def _figure(source: Source, texts: dict[str, str], rewards: dict[str, dict[str, float]]) -> Figure:
    """Draw the prompt above the two answers above the rewards."""
    lines = {name: _wrapped(text, 50 if name in SIDES else 104) for name, text in texts.items()}
    counts = [len(lines["prompt"]), max(len(lines[side]) for side in SIDES)]
    heights = [*(LINE * (count + 2) for count in counts), 1.7]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    mosaic: list[Any] = [["prompt", "prompt"], list(SIDES), ["rewards", "rewards"]]
    panels = figure.subplot_mosaic(mosaic, height_ratios=heights)
    for name, title in TITLES.items():
        _text(panels[name], title, lines[name])
    _bars(source, panels["rewards"], rewards)
    return figure


def _text(axes: Axes, title: str, lines: list[str]) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set(xticks=[], yticks=[], facecolor="0.96")
    axes.spines[:].set_visible(False)
    offset: dict[str, Any] = {"xytext": (4, -4), "textcoords": "offset points", "va": "top"}
    # data sets hold dollar signs, which are not mathematics
    axes.annotate("\n".join(lines), (0, 1), xycoords="axes fraction", parse_math=False, **offset)


def _bars(source: Source, axes: Axes, rewards: dict[str, dict[str, float]]) -> None:
    beside = axes.get_yaxis_transform()
    for row, (objective, label) in enumerate(source.papers.items()):
        for side, offset, alpha in ("answer", -0.2, 1.0), ("refusal", 0.2, 0.4):
            value, y = rewards[objective][side], row + offset
            axes.barh(y, value, 0.36, color=source.colours[objective], alpha=alpha)
            outwards = "left" if value >= 0 else "right"
            axes.text(value, y, f" {side} {value:+.2f} ", va="center", ha=outwards)
        axes.text(-0.01, row, label, transform=beside, ha="right", va="center")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.margins(x=0.25)
    axes.invert_yaxis()
    axes.set_xlabel("reward")


def visible(text: str) -> str:
    r"""Write control characters, which XML forbids, as people do: \x07."""
    forbidden = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]"
    return re.sub(forbidden, lambda match: rf"\x{ord(match[0]):02x}", text)


def _wrapped(text: str, width: int) -> list[str]:
    lines = []
    for line in text.splitlines():
        lines += textwrap.wrap(line, width) or [""]
    return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "[...]"]
