"""The sentences that keep a reader from taking our numbers for something that they are not."""

from rm_tension.analysis.context import Context
from rm_tension.data.tasks import BY_KEY
from rm_tension.report.table import Table, has_paper, has_partial


def warnings(context: Context) -> list[str]:
    """What heads a report, as plain sentences."""
    found = [f"Profile {context.profile}: {context.title}."]
    if context.stand_ins:
        found.append("Stand-in files were accepted in place of the official data sets.")
    if context.missing_trios:
        total = len(context.trios) + len(context.missing_trios)
        found.append(f"Incomplete grid: {len(context.trios)} of {total} trios, {_listed(context.trios)}.")
    if context.missing_tasks:
        labels = [BY_KEY[task].label for task in context.missing_tasks]
        found.append(f"No items, or not of every subset: {_listed(labels)}.")
    return found


def caption(table: Table, context: Context) -> str:
    """The table's title and all that must be known to read it, as plain text."""
    return " ".join([table.title, *warnings(context), *legend(table, context)])


def legend(table: Table, context: Context) -> list[str]:
    """How to read what stands in the table's cells."""
    found = []
    if has_partial(table):
        found.append("An asterisk marks an average over the tasks that have a value, not over all of the group.")
    if has_paper(table):
        caution = "" if context.comparable else ", for orientation only: ours are not comparable with them"
        found.append(f"Paper: the published values{caution}.")
    return found


def _listed(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
