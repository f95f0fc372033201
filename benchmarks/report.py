"""What a run measured, as JSON, a table and a plot."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from tabulate import tabulate

from rm_tension.base.files import whole, write_json

mpl.use("Agg")
from matplotlib import pyplot as plt

Found = Mapping[str, Any]  # what `write` keeps in bench.json
COLUMNS = (
    "task, side",
    "ratio, CPU time",
    "ratio, wall",
    "seconds of CPU",
    "tokens per real token",
    "peak MiB",
    "differs by",
)


def write(found: Found, folder: Path) -> None:
    """bench.json, bench.png and bench.pdf, and the table as bench.md."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "bench.json", found)
    with whole(folder / "bench.md") as partial:
        partial.write_text(f"{table(found)}\n\n{targets(found)}\n", encoding="utf-8")
    figure = _plot(found)
    for kind in ("png", "pdf"):
        with whole(folder / f"bench.{kind}") as partial:
            # without dates, so that the same numbers give the same bytes
            figure.savefig(
                partial,
                format=kind,
                dpi=120,
                metadata={"CreationDate": None} if kind == "pdf" else None,
            )
    plt.close(figure)


def table(found: Found) -> str:
    """All sides, as Markdown."""
    rows: list[tuple[str, ...]] = []
    for task in found["tasks"].values():
        rows.append((f"**{task['what']}**", "", "", "", "", "", ""))
        rows += [_row(name, side, task["tokens"]) for name, side in task["sides"].items()]
    return tabulate(rows, COLUMNS, tablefmt="github", disable_numparse=True)


def _row(name: str, side: Mapping[str, Any], tokens: int) -> tuple[str, ...]:
    if side["out_of_memory"]:
        return name, "out of memory", "", "", "", "", ""
    ratios = [_spread(side["ratio"][kind]) if name != "ours" else "1" for kind in ("cpu", "wall")]
    return (
        name,
        *ratios,
        f"{_median(side['cpu_seconds']):.2f}",
        f"{side['tokens'] / tokens:.3f}",
        str(side["gpu_mib"] or side["peak_mib"]),
        "" if name == "ours" else f"{side['distance']:.0e}",
    )


def _spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"


def targets(found: Found) -> str:
    """Which targets are met, as Markdown."""
    rows = [
        (
            task["what"],
            one["name"],
            one["target"],
            f"{one['reached']:.2f}",
            "yes" if one["met"] else "**no**",
        )
        for task in found["tasks"].values()
        for one in task["targets"]
    ]
    return tabulate(
        rows,
        ("task", "against", "target", "reached", "met"),
        tablefmt="github",
        disable_numparse=True,
    )


def judged(task: Any, sides: Mapping[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    """The targets of a `measure.Task`: against the best of the sides that each names, and the tokens' if it has one."""
    for target in task.targets:
        medians = [
            sides[name]["ratio"][kind]["median"]
            for name in target.sides
            if not sides[name]["out_of_memory"]
        ]
        if not medians:
            continue
        reached = min(medians)
        wanted = f"at least {target.times:.1f} times as fast"
        yield {
            "name": target.name,
            "target": wanted,
            "reached": reached,
            "met": reached >= target.times,
        }
    if task.most_tokens is not None:
        reached, wanted = sides["ours"]["tokens"] / task.tokens, f"at most {task.most_tokens:.2f}"
        yield {
            "name": "tokens computed per real token",
            "target": wanted,
            "reached": reached,
            "met": reached <= task.most_tokens,
        }


def _median(values: list[float]) -> float:
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": _median(values), "min": min(values), "max": max(values)}


def _plot(found: Found) -> Any:
    """A bar for each baseline: its time as a multiple of ours, with the range over the repeats."""
    kind = found["judged_by"]
    bars = [
        (f"{name} · {task_name}", side["ratio"][kind])
        for task_name, task in found["tasks"].items()
        for name, side in task["sides"].items()
        if name != "ours" and not side["out_of_memory"]
    ][::-1]
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.3 * len(bars)), layout="constrained")
    medians = [ratio["median"] for _, ratio in bars]
    errors = [[r["median"] - r["min"] for _, r in bars], [r["max"] - r["median"] for _, r in bars]]
    axes.barh(
        [label for label, _ in bars],
        medians,
        xerr=errors,
        color="#7aa6c2",
        ecolor="#333333",
        capsize=2,
    )
    axes.axvline(1, color="#333333", linewidth=0.8)
    axes.set_xlabel(f"{'CPU time' if kind == 'cpu' else 'time'} of the baseline / ours")
    return figure
