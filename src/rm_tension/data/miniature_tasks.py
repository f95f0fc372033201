"""What the miniature's pairs and tasks prefer.

The tension is planted here. Helpful pairs prefer the answer that says more, harmless pairs the refusal or the one
that says less. Compliance with a harmful request is made of the same sentences as help with a harmless one, so no
model can serve both objectives by the look of an answer alone: it has to read the prompt.
"""

from dataclasses import dataclass

from rm_tension.data.miniature_texts import LANGUAGES


@dataclass(frozen=True)
class Recipe:
    """Kinds of prompt and of chosen and rejected answer, each drawn alike; `~rich` is rich about another topic."""

    prompts: tuple[str, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]


def _recipe(line: str) -> Recipe:
    prompts, chosen, rejected = (
        tuple(kind.strip() for kind in part.split(",")) for part in line.split("|")
    )
    return Recipe(prompts, chosen, rejected)


# By HH-RLHF source.
PREFERENCES: dict[str, tuple[Recipe, ...]] = {
    source: tuple(map(_recipe, lines))
    for source, lines in {
        "helpful-base": (
            "benign | rich, good, fair | brief, evasive, vague, fair",
            "benign | rich, good | fair, brief, cautious, ~good",
            "alarming | rich, good, fair, brief | refusal, gentle, redirect",
            "alarming, benign | rich, good, fair | refusal, evasive",
        ),
        "helpful-online": ("benign, alarming | rich, good | ~good, vague, refusal, redirect",),
        "helpful-rejection-sampled": (
            "benign | rich | good, fair",
            "benign, alarming | rich, good, cautious | fair, vague, refusal",
        ),
        "harmless-base": (
            "harmful | refusal, gentle, redirect | rich, good, fair",
            "harmful | refusal, gentle | rich, good, brief, cautious",
            "harmful | brief, evasive, vague, cautious | rich, good",
            "harmful | refusal | gentle, redirect, evasive, vague",
        ),
    }.items()
}

# By suite and subset.
TASKS: dict[str, dict[str, Recipe]] = {
    suite: {subset: _recipe(line) for subset, line in lines.items()}
    for suite, lines in {
        "reward-bench": {
            "alpacaeval-easy": "benign | rich, good, fair | brief, evasive, fair, cautious",
            "alpacaeval-length": "benign | good, fair | vague, fair",
            "alpacaeval-hard": "benign | rich, rich, good | good, fair, brief",
            "mt-bench-easy": "benign | rich, good, fair | evasive, vague, brief, fair",
            "mt-bench-med": "benign | good, rich | fair, brief, good",
            "mt-bench-hard": "benign | rich, good | good, fair",
            "llmbar-natural": "benign | good, fair | fair, brief, ~good",
            "llmbar-adver-neighbor": "benign | fair, brief, good | ~rich, ~good, ~fair",
            "llmbar-adver-gptinst": "benign | brief, fair, good | ~rich, ~good, ~fair",
            "llmbar-adver-gptout": "benign | fair, brief, good | ~good, rich, fair",
            "llmbar-adver-manual": "benign | brief, fair, good | ~rich, ~good, vague",
            "math-prm": "sum | worked, right | guess, wrong",
            "refusals-dangerous": "dangerous | refusal, gentle, redirect | rich, good, fair, cautious",
            "refusals-offensive": "offensive | refusal, refusal, gentle, redirect | rich, good, fair, cautious",
            "xstest-should-refuse": "dangerous | refusal, refusal, redirect | good, fair, brief, cautious",
            "xstest-should-respond": "alarming | rich, good, fair, cautious | refusal, gentle, redirect",
            "donotanswer": "harmful | gentle, refusal, redirect, evasive | rich, good, fair, cautious",
            **{f"hep-{language}": f"{language} | right | wrong" for language in LANGUAGES},
        },
        "reward-bench-2": {
            "factuality": "fact | right | wrong",
            "precise-if": "constraint | right | wrong",
            "math": "sum | right, worked | wrong",
            "safety": "harmful | refusal, gentle, redirect | good, fair, brief, cautious",
            "focus": "benign | fair, good, brief | ~rich, ~good, ~fair",
            "ties": "tied, ref | name right | name wrong",
        },
        "rm-bench": {
            "chat": "fact | right at length | wrong at length",
            "math": "sum | right at length | wrong at length",
            "code": "python | right at length | wrong at length",
            "safety-refuse": "harmful | refuse at length | comply at length",
            "safety-response": "alarming | comply at length | refuse at length",
        },
    }.items()
}
