"""The paper's tables and figures from the analysed results, with the published values beside ours."""

import pandas as pd

from rm_tension.analysis.context import load_context
from rm_tension.files import whole
from rm_tension.report.figures import make_figures, save
from rm_tension.report.latex import latex
from rm_tension.report.notes import caption
from rm_tension.report.page import page
from rm_tension.report.tables import Source, make_tables
from rm_tension.runs import record
from rm_tension.stages.common import Job, main


def run(job: Job) -> None:
    """results/<P>/ and reference/ -> reports/<P>/, with tables/, figures/ and README.md."""
    paths = job.paths
    context = load_context(paths.results)
    source = Source(
        profile=paths.profile,
        results={path.stem: pd.read_csv(path) for path in sorted(paths.results.glob("*.csv"))},
        reference=paths.root / "reference",
        backbones={key: job.profile.backbones[key].name for key in job.params.grid.backbones},
        task_percent=context.task_percent,
    )
    with record(paths.run("report"), vars(job.arguments)) as metrics, whole(paths.reports) as folder:
        tables, figures = make_tables(source), list(make_figures(source))
        for name in ("tables", "figures"):
            (folder / name).mkdir(parents=True)
        for table in tables:
            text = latex(table, caption(table, context))
            (folder / "tables" / f"{table.name}.tex").write_text(text, encoding="utf-8")
        for figure in figures:
            save(figure.figure, folder / "figures", figure.name)
        (folder / "README.md").write_text(page(context, tables, figures), encoding="utf-8")
        metrics |= {"tables": len(tables), "figures": len(figures)}


if __name__ == "__main__":
    main(run)
