"""The last lines of a run: what it came to, where to look, and how to go on."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rm_tension.base.config import HubData, Params
from rm_tension.base.files import read_json
from rm_tension.base.grid import Paths
from rm_tension.base.progress import duration
from rm_tension.launch.scheduler import Progress, State, log_of

SHORT = {"reproduced": "reproduced", "not reproduced": "not", "undecided": "undecided"}
MOST_NAMES = 5  # of skipped stages


def closing_lines(
    progress: Progress, seconds: float, params: Params, targets: Sequence[str], command: str
) -> Iterator[str]:
    """Yield what to print below the table; `command` is the one that goes on after a failure."""
    counts = Counter(progress.states.values())
    parts = [f"{counts[state]} {state}" for state in State if counts[state]]
    yield f"{', '.join(parts)} in {duration(seconds)}"
    if progress.failures:
        for stage, failure in progress.failures.items():
            yield _line("failed", f"{stage}: {failure}")
            yield _line("log", str(log_of(stage)))
        skipped = [name for name, state in progress.states.items() if state is State.SKIPPED]
        if others := skipped[MOST_NAMES:]:
            skipped = [*skipped[:MOST_NAMES], f"{len(others)} others"]
        if skipped:
            yield _line("skipped", ", ".join(skipped))
        yield _line("go on", command)
        return
    for target in targets:
        kind, _, profile = target.partition("@")
        if kind == "report" and profile in params.profiles:
            yield from _where_to_look(params, Paths(profile))


def _where_to_look(params: Params, paths: Paths) -> Iterator[str]:
    profile = params.profiles[paths.profile]
    metrics = read_json(paths.reports / "metrics.json", dict[str, Any])
    yield _line("verdicts", _verdicts(metrics["claims"], profile.required_claims))
    pdf = paths.reports / "artifact.pdf"
    printed = f"   (PDF: {pdf})" if pdf.exists() else ""
    yield _line("report", f"{paths.reports / 'index.html'}{printed}")
    yield _line("note", profile.title)
    if isinstance(profile.data.source, HubData):
        return
    for name, other in params.profiles.items():
        page = Paths(name).reports / "index.html"
        if isinstance(other.data.source, HubData) and page.exists():
            yield _line("next", f"real data, already computed: {page}")
            return


def _verdicts(verdicts: Mapping[str, str], required: Sequence[str]) -> str:
    counts = Counter(verdicts.values())
    order = [*SHORT, *(counts.keys() - SHORT)]
    text = ", ".join(f"{counts[name]} {SHORT.get(name, name)}" for name in order if counts[name])
    by_verdict: dict[str, list[str]] = {}
    for claim in required:
        by_verdict.setdefault(verdicts[claim], []).append(claim)
    groups = [f"{', '.join(claims)}: {verdict}" for verdict, claims in by_verdict.items()]
    return f"{text}; required {'; '.join(groups)}" if groups else text


def _line(name: str, text: str) -> str:
    return f"{name:<9} {text}"
