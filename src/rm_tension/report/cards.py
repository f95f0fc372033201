"""Tables of text: hyper-parameters, model cards, tasks, and the files that a run loaded."""

import math

from rm_tension.analyse.outcomes import STYLES
from rm_tension.base.config import HubFiles, RandomWeights
from rm_tension.base.provenance import LoadedWeights, Provenance
from rm_tension.paper.tasks import PAPER_TASKS, SUITES
from rm_tension.report.source import Source
from rm_tension.report.table import TextTable

REMARKS = {
    "reward-bench": "",
    "reward-bench-2": " The items of Math include those of RM-Bench, which the paper's N = 183 "
    "does not count.",
    "rm-bench": f" Each prompt is {STYLES} items, one a style. The paper prints N = 519 for Chat "
    "and for the others the number of prompts (METHOD.md section 8, erratum 10).",
}
COMMIT, DIGEST = 12, 16  # digits that are shown
OFFICIAL = ("no", "not known", "yes")  # in the order of the rows


def hyper_parameters(number: str, source: Source) -> TextTable:
    """Return Table 5."""
    train = source.settings.train
    first, second = train.betas
    rows = {
        "learning rate": f"{train.learning_rate:g}",
        "schedule": "linear to 0, no warm-up",
        "optimiser": f"AdamW, betas {first:g} and {second:g}, weight decay {train.weight_decay:g}",
        "gradient norm": f"clipped at {train.max_grad_norm:g}",
        "pairs per step": f"{train.pairs_per_step}",
        "epochs": ", ".join(
            f"{count} ({objective})" for objective, count in source.settings.epochs.items()
        ),
        "longest text": f"{source.settings.tokens.max_length - 1} tokens; pairs with a longer side "
        "are dropped",
        "reward head": f"linear, no bias, weights from N(0, {train.head_std:g})",
        "precision": f"weights in {train.weights}, products in {train.precision}",
    }
    return TextTable(
        number,
        "Hyper-parameters of training",
        "Full fine-tuning with the Bradley-Terry loss. The paper trains mixed models for fewer "
        "epochs than the others, a number that could not be read: the full reproduction assumes "
        "one (METHOD.md section 1).",
        ["Parameter", "Value"],
        [[name, value] for name, value in rows.items()],
        "lX",
    )


def model_cards(number: str, source: Source) -> TextTable:
    """Return Table 6."""
    asked, loaded = source.settings.backbones, source.record("provenance", Provenance).backbones
    rows = [
        [name, key, *_weights(asked[key].weights, loaded[key])]
        for key, name in source.backbones.items()
        if key in loaded
    ]
    return TextTable(
        number,
        "Backbones",
        "The models that reward models were trained from, as the run recorded when it loaded them, "
        f"and their place in the paper's grid. {_cut(source)}",
        ["Backbone", "In the grid", "Loaded weights", "Commit", "sha256"],
        rows,
        "llXlX",
    )


def loaded_files(number: str, source: Source) -> TextTable:
    """List the files of the hub that a profile was made from; no rows where all was generated."""
    provenance = source.record("provenance", Provenance)
    rows = []
    for data in provenance.data:
        official, size = "yes" if data.official else "no", f"{sum(data.rows.values()):,} rows"
        commit = data.commit or "--"
        rows.append([*_origin(official, data.repo, commit), data.filename, size, data.sha256])
    for weights in provenance.backbones.values():
        official = "not known" if weights.stand_ins else "yes"
        if weights.hub is None:
            continue
        for file in weights.hub.files:
            origin = _origin(official, weights.hub.repo, weights.hub.commit)
            rows.append([*origin, file.name, f"{file.size:,} bytes", file.sha256])
    rows.sort(key=lambda row: OFFICIAL.index(row[0]))
    return TextTable(
        number,
        "Files that were loaded",
        "From the hub or its cache, as the run recorded when it loaded them; stand-ins first. "
        "Official: of a data file, whether its rows and, where that is known, its digest are the "
        "published ones; of a file of a backbone, that its commit holds it, which is not known "
        f"where stand-ins are accepted. {_cut(source)}",
        ["Official", "Repository", "File", "Size", "Commit", "sha256"],
        [
            [official, repo, name, size, commit, sha256[:DIGEST]]
            for official, repo, commit, name, size, sha256 in rows
        ],
        "lXXrll",
    )


def tasks(number: str, source: Source, suite: str) -> TextTable:
    """Return Table 7, 8 or 9."""
    sizes = source.table("means/tasks", "task", "items", "official", "chance").set_index("task")
    rows = [
        [task.label, *map(_number, sizes.loc[task.key]), task.description]
        for task in PAPER_TASKS
        if task.subsets[0].suite == suite
    ]
    return TextTable(
        number,
        f"Tasks from {SUITES[suite]}",
        "N is the number of items that we scored, beside that of the official files."
        + REMARKS[suite],
        ["Task", "N", "Official", "Chance (%)", "Description"],
        rows,
        "lrrrX",
    )


def _number(value: float) -> str:
    return "--" if math.isnan(value) else f"{value:g}"


def _weights(asked: HubFiles | RandomWeights, loaded: LoadedWeights) -> list[str]:
    """Return what was loaded, its commit, and the sha256 of its weights.

    No commit of the hub says what stand-ins are.
    """
    if loaded.hub is None:
        return [_random(asked), "--", "--"]
    weights = [file for file in loaded.hub.files if file.name.endswith(".safetensors")]
    sums = ", ".join(file.sha256[:DIGEST] for file in weights)
    if loaded.stand_ins:
        official = f"{loaded.hub.repo} at {loaded.hub.revision[:COMMIT]}"
        return [f"Stand-ins: {loaded.stand_ins}. Taken for {official}.", "--", sums]
    return [loaded.hub.repo, loaded.hub.commit[:COMMIT], sums]


def _origin(official: str, repo: str, commit: str) -> list[str]:
    """Return official, repository and commit; no commit of the hub says what a stand-in is."""
    if official == "yes":
        return [official, repo, commit[:COMMIT]]
    return [official, f"taken for {repo}", "--"]


def _random(asked: HubFiles | RandomWeights) -> str:
    if isinstance(asked, HubFiles):  # params.yaml has changed since
        return "random"
    size = f"{asked.layers} blocks of width {asked.width}, {asked.heads} heads"
    return f"random {asked.family}: {size}, seed {asked.seed}"


def _cut(source: Source) -> str:
    file = f"results/{source.context.profile}/provenance.json"
    return f"Commit and sha256 are cut; {file} has all of them."
