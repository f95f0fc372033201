"""The paper's tables of words: hyper-parameters, model cards and tasks; and the files that a run loaded."""

import math

from rm_tension.analyse.outcomes import STYLES
from rm_tension.base.config import HubFiles, RandomWeights
from rm_tension.base.provenance import LoadedWeights
from rm_tension.paper.tasks import TASKS, Suite
from rm_tension.report.source import Source
from rm_tension.report.table import TextTable

SUITE_NAMES: dict[Suite, str] = {
    "reward-bench": "RewardBench",
    "reward-bench-2": "RewardBench 2",
    "rm-bench": "RM-Bench",
}
REMARKS: dict[Suite, str] = {
    "reward-bench": "",
    "reward-bench-2": " The items of Math include those of RM-Bench, which the paper's N = 183 does not count.",
    "rm-bench": f" Each prompt is {STYLES} items, one a style. The paper prints N = 519 for Chat and for the "
    "others the number of prompts (METHOD.md section 8, erratum 10).",
}
COMMIT, DIGEST = 12, 16  # digits that are shown
OFFICIAL = ("no", "not known", "yes")  # in the order of the rows


def hyper_parameters(number: str, source: Source) -> TextTable:
    """Table 5."""
    train = source.settings.train
    epochs = ", ".join(f"{count} ({objective})" for objective, count in train.epochs.items())
    rows = {
        "learning rate": f"{train.learning_rate:g}",
        "schedule": "linear to 0, no warm-up",
        "optimiser": f"AdamW, betas {train.betas[0]:g} and {train.betas[1]:g}, weight decay {train.weight_decay:g}",
        "gradient norm": f"clipped at {train.max_grad_norm:g}",
        "pairs per step": f"{train.pairs_per_step}",
        "epochs": epochs,
        "longest text": f"{source.settings.tokens.max_length - 1} tokens; pairs with a longer side are dropped",
        "reward head": f"linear, no bias, weights from N(0, {train.head_std:g})",
        "precision": f"weights in {train.weights}, products in {train.precision}",
    }
    return TextTable(
        number,
        "Hyper-parameters of training",
        "Full fine-tuning with the Bradley-Terry loss. The paper trains mixed models for fewer epochs than the others, "
        "a number that could not be read: the full reproduction assumes one (METHOD.md section 1).",
        ["Parameter", "Value"],
        [[name, value] for name, value in rows.items()],
        "lX",
    )


def model_cards(number: str, source: Source) -> TextTable:
    """Table 6."""
    asked, loaded = source.settings.backbones, source.provenance().backbones
    rows = [
        [name, key, *_weights(asked[key].weights, loaded[key])]
        for key, name in source.backbones.items()
        if key in loaded
    ]
    return TextTable(
        number,
        "Backbones",
        "The models that reward models were trained from, as the run recorded when it loaded them, and their place in "
        f"the paper's grid. {_cut(source)}",
        ["Backbone", "In the grid", "Loaded weights", "Commit", "sha256"],
        rows,
        "llXlX",
    )


def loaded_files(number: str, source: Source) -> TextTable:
    """The files of the hub that a profile was made from; without rows where all was generated."""
    provenance = source.provenance()
    rows = []
    for data in provenance.data:
        official, size = "yes" if data.official else "no", f"{sum(data.rows.values()):,} rows"
        rows.append(
            _file(official, data.repo, data.commit or "--", data.filename, size, data.sha256)
        )
    for weights in provenance.backbones.values():
        official = "not known" if weights.stand_ins else "yes"
        if hub := weights.hub:
            rows += [
                _file(
                    official, hub.repo, hub.commit, file.name, f"{file.size:,} bytes", file.sha256
                )
                for file in hub.files
            ]
    return TextTable(
        number,
        "Files that were loaded",
        "From the hub or its cache, as the run recorded when it loaded them; stand-ins first. Official: of a data "
        "file, whether its rows and, where that is known, its digest are the published ones; a file of a backbone is "
        f"the one in hub.sha256, but is compared with nothing where stand-ins are accepted. {_cut(source)}",
        ["Official", "Repository", "File", "Size", "Commit", "sha256"],
        sorted(rows, key=lambda row: OFFICIAL.index(row[0])),
        "lXXrll",
    )


def tasks(number: str, source: Source, suite: Suite) -> TextTable:
    """Tables 7, 8 and 9."""
    sizes = source.table("means/tasks", "task", "items", "official", "chance").set_index("task")
    rows = [
        [task.label, *map(_number, sizes.loc[task.key]), task.description]
        for task in TASKS
        if task.subsets[0].suite == suite
    ]
    return TextTable(
        number,
        f"Tasks from {SUITE_NAMES[suite]}",
        f"N is the number of items that we scored, beside that of the official files.{REMARKS[suite]}",
        ["Task", "N", "Official", "Chance (%)", "Description"],
        rows,
        "lrrrX",
    )


def _number(value: float) -> str:
    return "--" if math.isnan(value) else f"{value:g}"


def _weights(asked: HubFiles | RandomWeights, loaded: LoadedWeights) -> list[str]:
    """What was loaded, its commit, and the sha256 of its weights; no commit of the hub's says what stand-ins are."""
    if loaded.hub is None:
        return [_random(asked), "--", "--"]
    sums = ", ".join(
        file.sha256[:DIGEST] for file in loaded.hub.files if file.name.endswith(".safetensors")
    )
    if loaded.stand_ins:
        place = f"{loaded.hub.repo} at {loaded.hub.revision[:COMMIT]}"
        return [f"Stand-ins: {loaded.stand_ins}. Taken for {place}.", "--", sums]
    return [loaded.hub.repo, loaded.hub.commit[:COMMIT], sums]


def _file(official: str, repo: str, commit: str, name: str, size: str, sha256: str) -> list[str]:
    """A row of `loaded_files`; no commit of the hub's says what a stand-in is."""
    place, commit = (repo, commit[:COMMIT]) if official == "yes" else (f"taken for {repo}", "--")
    return [official, place, name, size, commit, sha256[:DIGEST]]


def _random(asked: HubFiles | RandomWeights) -> str:
    if isinstance(asked, HubFiles):  # params.yaml has changed since
        return "random"
    size = f"{asked.layers} blocks of width {asked.width}, {asked.heads} heads"
    return f"random {asked.family}: {size}, seed {asked.seed}"


def _cut(source: Source) -> str:
    return f"Commit and sha256 are cut; results/{source.context.profile}/provenance.json has all of them."
