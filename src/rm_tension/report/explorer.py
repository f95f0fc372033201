"""The page's explorer: single items, and what each RM makes of them whole and ablated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rm_tension.analyse.explorer import Explorer as Chosen
from rm_tension.analyse.explorer import ShownItem
from rm_tension.base.config import ROLES
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import SUITES, TASK_OF
from rm_tension.report.example import visible
from rm_tension.report.source import Source

MOST = {"prompt": 220, "answer": 260}  # characters of an excerpt
LEAD = 40  # characters before the first difference of two answers that begin alike
CUT = "[…]"
DATA_SETS = {**SUITES, "hh-rlhf": "HH-RLHF"}
# Of the chosen and the rejected answer by the whole RM, then by the ablated one; empty: not scored
Rewards = list[float]


@dataclass(frozen=True)
class Excerpt:
    """The texts of an item as the page shows them; `title` names the data set and the task."""

    title: str
    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Explorer:
    """Items with the rewards of each trio: of each item, by each of ROLES.

    `trios` are their labels by key, the first of which the page shows without being asked.
    """

    rule: str
    generated: bool
    percent: int
    items: list[Excerpt]
    trios: dict[str, str]
    rewards: dict[str, list[list[Rewards]]]

    @property
    def data_sets(self) -> list[str]:
        """The names of the data sets that items are of."""
        return list(dict.fromkeys(item.title.partition(",")[0] for item in self.items))


def explorer(source: Source) -> Explorer:
    """Make the explorer of a profile from explorer.json and explorer.csv."""
    chosen = source.record("explorer", Chosen)
    keys = ["backbone", "seed", "dataset", "subset", "item_id", "objective", "kind"]
    sides = ["chosen", "rejected"]
    table = source.by_role("explorer", *keys, *sides)
    numbers = table[sides].to_numpy().tolist()
    # unrounded: the page says which of two is higher
    known = dict(zip(table[keys].itertuples(index=False, name=None), numbers, strict=True))
    labels, rewards = {}, {}
    for trio in dict.fromkeys(key[:2] for key in known):
        name = "-".join(map(str, trio))
        labels[name] = f"{source.backbones[trio[0]]}, seed {trio[1]}"
        rewards[name] = [
            [_rewards(known, trio, item, role) for role in ROLES] for item in chosen.items
        ]
    return Explorer(
        chosen.rule,
        chosen.generated,
        source.task_percent,
        [_excerpt(item) for item in chosen.items],
        labels,
        rewards,
    )


def excerpts(texts: Sequence[str], most: int) -> list[str]:
    """Return a part of each text of `most` characters or little more, on one line.

    Texts that begin alike are cut shortly before the first difference.
    """
    lines = [" ".join(visible(text).split()) for text in texts]
    alike = next(
        (place for place, letters in enumerate(zip(*lines, strict=False)) if len({*letters}) > 1),
        min(map(len, lines)) if len({*lines}) > 1 else 0,  # one is the beginning of another
    )
    start = _word_before(lines[0], alike - LEAD) if alike > most // 2 else 0
    return [_cut(line, start, most) for line in lines]


def _word_before(line: str, place: int) -> int:
    """Return where the word at a place begins; the place itself in a script without spaces."""
    return line.rfind(" ", max(0, place - LEAD), max(0, place)) + 1 or max(0, place)


def _cut(line: str, start: int, most: int) -> str:
    """Return a line from `start` on, cut between words after `most` characters."""
    before = f"{CUT} " if start else ""
    rest = line[start:]
    if len(rest) <= most:
        return before + rest
    head = rest[:most].rpartition(" ")[0] or rest[:most]
    return f"{before}{head} {CUT}"


def _excerpt(item: ShownItem) -> Excerpt:
    """Cut an item's texts; of a dialogue only the last question is shown."""
    earlier, _, question = item.prompt.rpartition("\n\nHuman:")
    (prompt,) = excerpts([question], MOST["prompt"])
    chosen, rejected = excerpts([item.chosen, item.rejected], MOST["answer"])
    task = TASK_OF.get((item.dataset, item.subset))
    title = f"{DATA_SETS[item.dataset]}, {task.label if task else item.subset}"
    return Excerpt(title, f"{CUT} {prompt}" if earlier else prompt, chosen, rejected)


def _rewards(
    known: Mapping[tuple[Any, ...], list[float]], trio: tuple[Any, ...], item: ShownItem, role: str
) -> Rewards:
    """Return the numbers of one item by one RM; `known` are by the keys of explorer.csv."""
    key = (*trio, item.dataset, item.subset, item.item_id, role)
    whole, ablated = (known.get((*key, kind)) for kind in (NONE.kind, "magnitude"))
    return whole + ablated if whole and ablated else []
