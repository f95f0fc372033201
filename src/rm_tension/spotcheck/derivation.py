"""Whether the numbers of results/ follow from the rewards, and those of reports/ from results/."""

import tempfile
from collections.abc import Iterator
from io import StringIO
from operator import eq
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

from rm_tension.analyse.bootstrap import draw_items
from rm_tension.analyse.comparison import compared
from rm_tension.analyse.means import means_tables
from rm_tension.analyse.metrics import trio_metrics
from rm_tension.analyse.outcomes import outcomes, read_layout, read_scored
from rm_tension.analyse.published import read_published
from rm_tension.analyse.tables import DIGITS, grid_tables, trio_tables
from rm_tension.base.config import Grid, Params
from rm_tension.base.grid import Paths, Trio
from rm_tension.base.tables import read_table
from rm_tension.report.contents import make_report
from rm_tension.report.document import write
from rm_tension.report.dvc_views import write_dvc_views
from rm_tension.report.source import Source

ALIKE = 1e-7  # relative and absolute: what is computed from numbers of ten digits
WORDS = {
    ".tex",
    ".md",
    ".html",
    ".json",
    ".csv",
}  # figures and the PDF are drawn from the same numbers
AROUND = 40  # letters


def results_from_rewards(paths: Paths, trio: Trio, grid: Grid) -> Iterator[str]:
    """Faults of a trio's rows in results/*.csv; UserError if its rewards are not one for each answer."""
    layout, files = read_layout(paths, grid), grid.test_files
    place = Paths(paths.profile).rewards(trio)
    scored = read_scored(paths.rewards(trio), layout, files)
    shown = _read_results(paths)
    items = outcomes(scored)
    metrics = trio_metrics(items, draw_items(layout, resamples=0), files)
    for name, table in trio_tables(scored, items, metrics).items():
        table.insert(0, "backbone", trio.backbone)
        table.insert(1, "seed", trio.seed)
        rows = shown[name][
            (shown[name]["backbone"] == trio.backbone) & (shown[name]["seed"] == trio.seed)
        ]
        yield from _unlike(f"{Paths(paths.profile).results}/{name}.csv", rows, table, str(place))


def averages_from_results(paths: Paths, percent: int) -> Iterator[str]:
    """Faults of what results/ has of the whole grid, from its rows of trios and backbones."""
    shown, tree = _read_results(paths), Paths(paths.profile)
    place = tree.results
    depth = shown["neuron_depth"]
    of_backbones = shown | {"neuron_depth": depth[depth["backbone"] != "pooled"]}
    for name, table in grid_tables(of_backbones, percent).items():
        yield from _unlike(f"{place}/{name}.csv", shown[name], table, f"the other rows of {place}")
    published = read_published(tree.root / "reference" / "published.csv")
    for name, table in compared(means_tables(shown, percent), published).items():
        written = read_table(paths.results / "means" / f"{name}.csv", ())
        yield from _unlike(f"{place}/means/{name}.csv", written, table, f"{place}/*.csv")


def _read_results(paths: Paths) -> dict[str, pd.DataFrame]:
    return {path.stem: read_table(path) for path in sorted(paths.results.glob("*.csv"))}


def report_from_results(paths: Paths, params: Params) -> Iterator[str]:
    """Faults of every table and page of reports/ in the working tree: the first line that is not as rendered again."""
    tree = Paths(paths.profile)
    source = Source.of(paths.results, paths.profile, params)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(make_report(source), folder)
        write_dvc_views(source, folder)
        for made in sorted(path for path in folder.rglob("*") if path.suffix in WORDS):
            yield from _unlike_text(
                tree.reports / made.relative_to(folder), made, str(tree.results)
            )


def _unlike(name: str, shown: pd.DataFrame, computed: pd.DataFrame, source: str) -> Iterator[str]:
    """The first difference of each column."""
    made = pd.read_csv(StringIO(computed.to_csv(index=False, float_format=DIGITS)))
    shown = shown.reset_index(drop=True)
    columns = list(map(str, made))
    if columns != list(shown) or len(shown) != len(made):
        sizes = [f"{len(rows)} rows of {', '.join(map(str, rows))}" for rows in (shown, made)]
        yield f"{name}: {sizes[0]}, but {source} gives {sizes[1]}"
        return
    keys = [column for column in columns if not is_float_dtype(made[column])]
    for column in columns:
        here, there = shown[column], made[column]
        if is_numeric_dtype(here) and is_numeric_dtype(there):
            wrong = ~np.isclose(here, there, ALIKE, ALIKE, equal_nan=True)
        else:
            wrong = (here.astype(str) != there.astype(str)).to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            where = ", ".join(f"{key} {made[key][row]}" for key in keys if key != column)
            yield (
                f"{name}: {column} of {where} is {here[row]}, but {source} gives {there[row]}; "
                f"{wrong.sum()} of {len(made)} rows differ"
            )


def _unlike_text(shown: Path, made: Path, source: str) -> Iterator[str]:
    """The first difference, with what stands around it: a line of a table is long."""
    if not shown.is_file():
        yield f"{shown}: not there, but {source} gives it"
        return
    found, expected = (path.read_text(encoding="utf-8") for path in (shown, made))
    if found != expected:
        same = map(eq, found, expected)
        place = next(
            (place for place, one in enumerate(same) if not one), min(len(found), len(expected))
        )
        line = expected.count("\n", 0, place) + 1
        here, there = (text[max(0, place - AROUND) : place + AROUND] for text in (found, expected))
        yield f"{shown}:{line}: does not follow from {source}: has {here!r} instead of {there!r}"
