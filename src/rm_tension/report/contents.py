"""Everything that a report holds, and its order, which is the paper's."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from rm_tension.analyse.context import Context
from rm_tension.analyse.tally import summarise
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.paper.tasks import GROUPS
from rm_tension.report import summary, supplement, tables
from rm_tension.report.drawing import Drawing
from rm_tension.report.estimate import Estimate, estimate
from rm_tension.report.explorer import Explorer, explorer
from rm_tension.report.figures import make_figures
from rm_tension.report.item import Item
from rm_tension.report.source import Source
from rm_tension.report.table import Table, TextTable

# Keys are kind and number; those with ? stand for as many as there are
PARTS: dict[str, str] = {
    "Verdicts": "F S0, T S2, T S2b, T S1",
    "Main body": "F 1, F 2, T 1, F 3, F 3b, T 2, T 3, F 4, T 4",
    "Appendix": "T 5, T 6, T 7, T 8, T 9, T 10, F 5, F 6, T 11, T 12, F 2?, T 13, T 14, "
    "T 15, T 16, T 17, T 18, T 19, T 19b, F 7, T 20, T 21",
    "Supplement": "T S3, T S4, T S5, T S6, T S7, T S8, T S9, T S10, F S1, T S11, F S2, "
    "T S12, T S13, T S14, T S15, T S16, F S3",
}
# The same by what a reader asks; the page's order
QUESTIONS: dict[str, str] = {
    "What was found?": "F S0, T S2, T S2b, T S1",
    "Does mixing cost?": "F 1, F 2, T 1, T 13, T 14, T 15, T 10, F 3, F 3b, T 11, T 12, F 2?, "
    "T S6, T S7, T S14, T S15, T S16",
    "Which neurons?": "F 4, T 16, T S3, T S4, T S5",
    "What does silencing them do?": "F 5, F 6, T 2, T 3, F 7, T 20, T 21, T 19, T 19b, T S8, F S3",
    "Are they the objective's?": "T 4, T 17, T 18, T S9, T S11, F S2, T S12, T S13",
    "What was it made from?": "T 5, T 6, T 7, T 8, T 9, T S10, F S1",
}


@dataclass(frozen=True)
class Report:
    """A profile's report; `claims` are those of results/<profile>/claims.json.

    `retention` is ours and the paper's by group of tasks, NaN where it is not known. `labels` and
    `colours` of RMs are those of `Source`.
    """

    context: Context
    claims: list[DecidedClaim]
    tables: list[Table | TextTable]
    figures: list[Drawing]
    retention: dict[str, tuple[float, float]]
    labels: dict[str, str]
    colours: dict[str, str]
    explorer: Explorer
    estimate: Estimate | None

    @property
    def summary(self) -> str:
        """Count claims and parts of claims by verdict, in a sentence of every page."""
        return summarise(self.claims)

    @property
    def parts(self) -> dict[str, list[Item]]:
        """Return the items of each part of the PDF, in the paper's order."""
        return self._grouped(PARTS)

    @property
    def questions(self) -> dict[str, list[Item]]:
        """Return the same items as `parts` under the questions that they answer."""
        return self._grouped(QUESTIONS)

    @property
    def tension(self) -> Drawing:
        """Return the figure that a reader sees first."""
        return self.figures[0]

    def _grouped(self, groups: dict[str, str]) -> dict[str, list[Item]]:
        items: dict[str, list[Item]] = {}
        for title, keys in groups.items():
            items[title] = []
            for key in keys.split(", "):
                items[title] += self._matching(key)
        return items

    def _matching(self, key: str) -> list[Item]:
        """Return the items of `F 2?` and the like: Figures 2a, 2b, ..., if there are any."""
        items: Sequence[Item] = [*self.tables, *self.figures]
        return [item for item in items if fnmatch(f"{item.kind[0]} {item.number}", key)]


def make_report(source: Source) -> Report:
    """Make all tables and figures of a profile; raise UserError if its results are damaged.

    A table without rows is left out.
    """
    claims = source.record("claims", list[DecidedClaim])
    recipes = tables.TABLES | supplement.TABLES
    every = [make(number, source) for number, make in recipes.items()]
    shown = [
        table for table in every if (table.rows if isinstance(table, TextTable) else table.sections)
    ]
    numbers = [table for table in shown if isinstance(table, Table)]
    shown += [
        summary.agreement("S1", source, numbers),
        summary.claims("S2", claims),
        summary.claim_parts("S2b", claims),
    ]
    retained = source.compared("retention", "task", measure="retention", backbone="average")
    retention = retained.reindex(GROUPS)[["mean", "paper"]].itertuples()
    return Report(
        source.context,
        claims,
        shown,
        make_figures(source),
        {group: (ours, paper) for group, ours, paper in retention},
        source.labels,
        source.colours,
        explorer(source),
        estimate(source.params, source.context.profile),
    )
