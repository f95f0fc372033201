"""The paper's tables of words: hyper-parameters, model cards and tasks, from params.yaml and the data themselves."""

import math

from rm_tension.analyse.outcomes import STYLES
from rm_tension.base.config import HubFiles, RandomWeights
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
    cards = source.settings.backbones
    rows = [[name, key, *_weights(cards[key].weights)] for key, name in source.backbones.items()]
    return TextTable(
        number,
        "Backbones",
        "The models that reward models are trained from, and their place in the paper's grid.",
        ["Backbone", "In the grid", "Weights", "Revision"],
        rows,
        "llXl",
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


def _weights(weights: HubFiles | RandomWeights) -> tuple[str, str]:
    if isinstance(weights, HubFiles):
        return weights.repo, weights.revision[:12]
    size = f"{weights.layers} blocks of width {weights.width}, {weights.heads} heads"
    return f"random {weights.family}: {size}", f"seed {weights.seed}"
