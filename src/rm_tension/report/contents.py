"""Everything that a report holds, and its order, which is the paper's."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from rm_tension.analyse.context import Context
from rm_tension.analyse.tally import summarise
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.report import summary, supplement, tables
from rm_tension.report.drawing import Drawing
from rm_tension.report.figures import make_figures
from rm_tension.report.item import Item
from rm_tension.report.source import Source
from rm_tension.report.table import Table, TextTable

PARTS: dict[str, str] = {
    "Verdicts": "T S2, T S2b, T S1",
    "Main body": "F 1, F 2, T 1, F 3, F 3b, T 2, T 3, F 4, T 4",
    "Appendix": "T 5, T 6, T 7, T 8, T 9, T 10, F 5, F 6, T 11, T 12, F 2?, T 13, T 14, "
    "T 15, T 16, T 17, T 18, T 19, T 19b, F 7, T 20, T 21",
    "Supplement": "T S3, T S4, T S5, T S6, T S7, T S8, T S9, T S10, F S1",
}


@dataclass(frozen=True)
class Report:
    """`claims` are those of results/<profile>/claims.json."""

    context: Context
    claims: list[DecidedClaim]
    tables: list[Table | TextTable]
    figures: list[Drawing]

    @property
    def summary(self) -> str:
        """How many claims and parts of claims are decided, as a sentence of every page."""
        return summarise(self.claims)

    @property
    def parts(self) -> dict[str, list[Item]]:
        """The items of each part; of the radars 2a, 2b, ..., one for each backbone with results."""
        items: Sequence[Item] = [*self.tables, *self.figures]
        return {
            part: [
                item
                for key in keys.split(", ")
                for item in items
                if fnmatch(f"{item.kind[0]} {item.number}", key)
            ]
            for part, keys in PARTS.items()
        }


def make_report(source: Source) -> Report:
    """All tables and figures of a profile; but for a table of words that has none."""
    claims = source.record("claims", list[DecidedClaim])
    made = [make(number, source) for number, make in (tables.TABLES | supplement.TABLES).items()]
    made = [table for table in made if not isinstance(table, TextTable) or table.rows]
    made += [
        summary.agreement("S1", source, [table for table in made if isinstance(table, Table)]),
        summary.claims("S2", claims),
        summary.claim_parts("S2b", claims),
    ]
    return Report(source.context, claims, made, make_figures(source))
