"""Tables, figures, page and PDF from the analysed results, the published values beside ours."""

from rm_tension.base.files import atomic_write
from rm_tension.base.job import Job
from rm_tension.base.runs import record
from rm_tension.report.contents import make_report
from rm_tension.report.document import compile_pdf, write
from rm_tension.report.dvc_views import write_dvc_views
from rm_tension.report.source import Source


def main(*, profile: str) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile))


def run(job: Job) -> None:
    """Make reports/<P>/ from results/<P>/: tables/, figures/, artifact.pdf, pages, DVC's views."""
    paths = job.paths
    source = Source.of(paths.results, paths.profile, job.params)
    with (
        record(paths.run("report"), dict(job.cell)) as metrics,
        atomic_write(paths.reports) as folder,
    ):
        report = make_report(source)
        write(report, folder)
        write_dvc_views(source, folder)
        log = compile_pdf(folder)
        metrics |= {
            "tables": len(report.tables),
            "figures": len(report.figures),
            "overfull": log.count("Overfull"),
        }
