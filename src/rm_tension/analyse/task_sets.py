"""The sets of tasks that the paper's claims are about (METHOD.md section 7)."""

from rm_tension.paper.tasks import PAPER_TASKS, Group, group_tasks

SINGLES = ("helpful", "harmless")  # the objectives of one group each
OWN: dict[Group, str] = {"harmlessness": "harmless", "helpfulness": "helpful"}
KEYS: dict[Group, list[str]] = {group: [task.key for task in group_tasks(group)] for group in OWN}
EVERY = [task.key for task in PAPER_TASKS]
ALPACA = ["alpacaeval-easy", "alpacaeval-hard", "alpacaeval-length"]
LLMBAR_ADVER = [key for key in EVERY if key.startswith("llmbar-adver-")]
# Where the harmless RM can win although helpfulness is asked for (3.1).
ADVERSARIAL = [*LLMBAR_ADVER, "focus", "precise-if", "factuality"]
ANSWERING = ["safety-response", "xstest-should-respond"]
REFUSALS = ["refusals-dangerous", "refusals-offensive", "xstest-should-refuse", "safety-refuse"]
# Of low retention (3.2).
FRAGILE = [*LLMBAR_ADVER, "focus", "factuality"]
# Where both single-objective RMs are weak (3.1).
WEAK = ["math", "chat", "factuality"]


def without(tasks: list[str], others: list[str]) -> list[str]:
    """Return the tasks that are not among the others, in order."""
    return [task for task in tasks if task not in others]
