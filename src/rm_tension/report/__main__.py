"""The paper's tables and figures from the analysed results, with the published values beside ours, as files to read."""

import json
from pathlib import Path

from rm_tension.analyse.context import Context
from rm_tension.base.errors import UserError
from rm_tension.base.files import whole
from rm_tension.base.job import Job, main
from rm_tension.base.runs import record
from rm_tension.report.contents import make_report
from rm_tension.report.document import compile_pdf, write
from rm_tension.report.dvc_views import write_dvc_views
from rm_tension.report.source import Source


def run(job: Job) -> None:
    """results/<P>/ and reference/ -> reports/<P>/: tables/, figures/, artifact.pdf, pages, DVC's views."""
    paths = job.paths
    source = Source(
        context=_context(paths.results),
        settings=job.profile,
        results=paths.results,
        reference=paths.root / "reference",
        backbones={key: job.profile.backbones[key].name for key in job.params.grid.axes(job.paths.profile).backbones},
    )
    with record(paths.run("report"), vars(job.arguments)) as metrics, whole(paths.reports) as folder:
        report = make_report(source)
        write(report, folder)
        write_dvc_views(source, folder)
        log = compile_pdf(folder)
        metrics |= {"tables": len(report.tables), "figures": len(report.figures), "overfull": log.count("Overfull")}


def _context(results: Path) -> Context:
    try:
        return Context(**json.loads((results / "context.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{results}: no results; run `dvc repro analyse@{results.name}` first") from None


if __name__ == "__main__":
    main(run)
