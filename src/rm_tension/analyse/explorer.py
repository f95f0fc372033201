"""Some thirty harmless items for the report's page, chosen from the results by a rule."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import pandas as pd

from rm_tension.analyse.example import ANSWERED
from rm_tension.analyse.outcomes import STYLES
from rm_tension.base.config import ROLES
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import TASK_OF

OF_EACH = 2  # items of each subset
PAIRWISE = ("reward-bench", "rm-bench")  # suites whose items are one answer against one
PREFERENCES = ("hh-rlhf", "helpful-base")
TURN = "\n\nAssistant:"
# Stems of words that no text of a shown item has: of harm, of sex, and of groups of people, on whom
# the data sets have texts that demean. The subsets ask for nothing harmful; most texts pass.
AVOIDED = re.compile(
    r"\b(?:abus|addict|alcohol|asian people|assault|black people|blood|bomb|christian|corpse|crap|"
    r"damn|dead|death|depress|die\b|dies\b|died|divorc|drug|elderly|erotic|euthan|execut|explosi|"
    r"fuck|gay\b|genital|genocid|gun\b|guns\b|hate|hell\b|hindu|hitler|holocaust|homosex|hurt|"
    r"immigrant|islam|jew|kidnap|kill|latino|lesbian|massacre|molest|murder|muslim|naked|nazi|nude|"
    r"poison|porn|pregnan|prostitut|racial|racis|rape|rapist|retard|sex|shit|shoot|slave|stab|steal|"
    r"stole|suicid|terror|tortur|victim|violen|weapon|white people)",
    re.IGNORECASE,
)
RULE = (
    "Taken are items of one chosen and one rejected answer whose prompts ask for nothing harmful: "
    "of the helpfulness tasks, of XSTest Should Respond and Safety Response, and of helpful-base, "
    "in RM-Bench those in the concise style. Items whose texts speak of harm, of sex or of groups "
    f"of people, by a list of words, are left out. In {OF_EACH} rounds each subset gives the item "
    "whose pattern of RMs that are right, by the majority of trios, was taken the least before; "
    "between equals the first. No prompt is taken twice."
)


@dataclass(frozen=True)
class ShownItem:
    """A chosen item with its whole texts; of a dialogue, `prompt` is all but the last answer."""

    dataset: str
    subset: str
    item_id: str
    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Explorer:
    """What stands in explorer.json; the rewards stand in explorer.csv."""

    rule: str
    generated: bool  # whether a program wrote the texts
    items: list[ShownItem]


def explorable(scored: pd.DataFrame, percent: int) -> pd.DataFrame:
    """Return one trio's rewards of all items that RULE may take, from `outcomes.score`.

    A row for each item, objective and kind (`none` and, of that percentage, `magnitude`), by them,
    dataset, subset and item_id; columns percent, chosen, rejected.
    """
    ablated = (scored["kind"] == "magnitude") & (scored["percent"] == percent)
    rows = scored[(ablated | (scored["kind"] == NONE.kind)) & (scored["item"] % STYLES == 0)]
    parts = pd.MultiIndex.from_frame(rows[["dataset", "subset"]].astype("str"))
    rows = rows[parts.isin(_subsets()) & rows["objective"].isin(ROLES)]
    keys = ["dataset", "subset", "item", "item_id", "objective", "kind", "percent"]
    rows = rows.astype({"dataset": "str", "objective": "str", "kind": "str"})
    pairs = rows.pivot(index=keys, columns="chosen", values="reward").reindex(columns=[True, False])
    return pairs.set_axis(["chosen", "rejected"], axis=1).reset_index()


def choose_items(
    rewards: pd.DataFrame, texts: pd.DataFrame, generated: bool
) -> tuple[Explorer, pd.DataFrame]:
    """Return what RULE chooses from `explorable` of all trios, and the rewards of these items.

    `texts` are the rows that `item` numbers: benchmarks, then test pairs.
    """
    patterns = _patterns(rewards)
    shown = {item: _shown(texts.iloc[item // STYLES]) for item in patterns.index}
    harmless = {item: found for item, found in shown.items() if found and _is_harmless(found)}
    taken = _take(patterns[patterns.index.isin(list(harmless))], harmless)
    items = [harmless[item] for item in taken]
    own = rewards[rewards["item"].isin(taken)].drop(columns="item")
    return Explorer(RULE, generated, items), own


def _subsets() -> list[tuple[str, str]]:
    """Return the subsets that items are taken of, in the order of the tasks."""
    asked = [part for part, task in TASK_OF.items() if task.group == "helpfulness"]
    return [*(part for part in asked if part[0] in PAIRWISE), *ANSWERED, PREFERENCES]


def _patterns(rewards: pd.DataFrame) -> pd.Series:
    """Return by item which RMs are right in most trios, e.g. `helpful mixed`."""
    whole = rewards[rewards["kind"] == NONE.kind]
    right = (whole["chosen"] > whole["rejected"]).groupby([whole["item"], whole["objective"]])
    most = right.mean().unstack("objective") > 0.5
    return pd.Series([" ".join(row.index[row]) for _, row in most.iterrows()], most.index)


def _shown(text: pd.Series) -> ShownItem | None:
    """Return an item as it is shown; None unless its last answers, and they alone, differ."""
    prompt, chosen = text["prompt"], text["answers"][0]
    rejected = text["answers"][text["n_chosen"]]
    if (text["dataset"], text["subset"]) == PREFERENCES:
        prompt, turn, chosen = chosen.rpartition(TURN)
        other, _, rejected = rejected.rpartition(TURN)
        if not turn or prompt != other:
            return None
    if chosen == rejected:
        return None
    return ShownItem(text["dataset"], text["subset"], text["item_id"], prompt, chosen, rejected)


def _is_harmless(item: ShownItem) -> bool:
    return not any(AVOIDED.search(text) for text in (item.prompt, item.chosen, item.rejected))


def _take(patterns: pd.Series, items: Mapping[int, ShownItem]) -> list[int]:
    """Return the items that RULE takes, subset by subset."""
    patterns_taken: Counter[str] = Counter()
    prompts_taken: set[str] = set()
    taken: dict[tuple[str, str], list[int]] = {subset: [] for subset in _subsets()}
    for _, (subset, own) in product(range(OF_EACH), taken.items()):
        rest = [
            item
            for item in patterns.index
            if (items[item].dataset, items[item].subset) == subset
            and items[item].prompt not in prompts_taken
        ]
        if rest:
            item = min(rest, key=lambda item: (patterns_taken[patterns[item]], item))
            patterns_taken[patterns[item]] += 1
            prompts_taken.add(items[item].prompt)
            own.append(item)
    return [item for own in taken.values() for item in own]
