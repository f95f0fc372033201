"""The sentences that keep a reader from taking our numbers for something that they are not."""

from rm_tension.analyse.context import Context
from rm_tension.paper.tasks import BY_KEY
from rm_tension.report.item import Item
from rm_tension.report.table import Table, printed_cells

# What the report says of every interval
INTERVALS = (
    "A 95% interval covers other items of the same tasks, which all RMs share, and other seeds of "
    "the same backbones; where a backbone has a single seed, other items alone; of what neurons "
    "are (C5, C7, C9, C20), other seeds alone. It does not cover other backbones, data or recipes."
)

NOT_MEANINGFUL = "The comparison is not meaningful: ours are not the paper's models and data."


def warnings(context: Context) -> list[str]:
    """Return what heads a report, as plain sentences."""
    sentences = [f"Profile {context.profile}: {context.title}."]
    if context.stand_ins:
        sentences.append(f"Stand-ins were taken for official files: {context.stand_ins}.")
    if context.missing_trios:
        total = len(context.trios) + len(context.missing_trios)
        trios = _listed(context.trios)
        sentences.append(
            f"Incomplete grid: {len(context.trios)} of {total} trios, {trios}. Means over "
            "backbones are of these; the paper's are of all of its own."
        )
    if context.missing_tasks:
        labels = [BY_KEY[task].label for task in context.missing_tasks]
        sentences.append(f"No items, or not of every subset: {_listed(labels)}.")
    return sentences


def caption(item: Item, context: Context) -> str:
    """Return what a table or figure shows and how to read it, as plain text.

    `provenance` is what it needs besides to be read by itself.
    """
    return f"{item.heading}. {describe(item, context)}"


def provenance(context: Context) -> str:
    """Return where all numbers of a report come from, as plain text."""
    return " ".join(warnings(context))


def describe(item: Item, context: Context) -> str:
    """Return how to read an item, for a page that says elsewhere where its numbers come from."""
    return " ".join([item.note, *(legend(item, context) if isinstance(item, Table) else ())])


def legend(table: Table, context: Context) -> list[str]:
    """Return how to read the marks in the table's cells."""
    sentences, cells = [], printed_cells(table)
    if cells["partial"].any():
        sentences.append(
            "An asterisk marks an average over the tasks that have a value, not over all of the "
            "group."
        )
    if cells["paper"].notna().any():
        bold = ""
        if table.points is not None:
            bold = f", bold beyond max({table.points:g}, 3 standard errors over seeds)"
        sentences.append(f"Paper: the published values; difference: ours less the paper's{bold}.")
        if not context.comparable:
            sentences.append(NOT_MEANINGFUL)
    return sentences


def _listed(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
