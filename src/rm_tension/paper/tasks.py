"""The 25 tasks of the paper (METHOD.md section 2) and the items that each one scores."""

from dataclasses import dataclass
from typing import Literal

Group = Literal["helpfulness", "harmlessness"]
Suite = Literal["reward-bench", "reward-bench-2", "rm-bench"]
SUITES: tuple[Suite, ...] = ("reward-bench", "reward-bench-2", "rm-bench")


@dataclass(frozen=True)
class Subset:
    """A part of a suite. `size` is the official number of rows (prompts in RM-Bench)."""

    suite: Suite
    name: str
    size: int


@dataclass(frozen=True)
class Task:
    """A column of the paper's tables: the mean accuracy of one or two subsets."""

    key: str
    label: str
    short: str
    group: Group
    subsets: tuple[Subset, ...]
    description: str


# RewardBench's own ids spell two subsets with capitals; ours are lower-case throughout.
SUBSETS: tuple[Subset, ...] = (
    Subset("reward-bench", "alpacaeval-easy", 100),
    Subset("reward-bench", "alpacaeval-length", 95),
    Subset("reward-bench", "alpacaeval-hard", 95),
    Subset("reward-bench", "mt-bench-easy", 28),
    Subset("reward-bench", "mt-bench-med", 40),
    Subset("reward-bench", "mt-bench-hard", 37),
    Subset("reward-bench", "llmbar-natural", 100),
    Subset("reward-bench", "llmbar-adver-neighbor", 134),
    Subset("reward-bench", "llmbar-adver-gptinst", 92),
    Subset("reward-bench", "llmbar-adver-gptout", 47),
    Subset("reward-bench", "llmbar-adver-manual", 46),
    Subset("reward-bench", "math-prm", 447),
    Subset("reward-bench", "refusals-dangerous", 100),
    Subset("reward-bench", "refusals-offensive", 100),
    Subset("reward-bench", "xstest-should-refuse", 154),
    Subset("reward-bench", "xstest-should-respond", 250),
    Subset("reward-bench", "donotanswer", 136),
    Subset("reward-bench", "hep-cpp", 164),
    Subset("reward-bench", "hep-go", 164),
    Subset("reward-bench", "hep-java", 164),
    Subset("reward-bench", "hep-js", 164),
    Subset("reward-bench", "hep-python", 164),
    Subset("reward-bench", "hep-rust", 164),
    Subset("reward-bench-2", "factuality", 475),
    Subset("reward-bench-2", "precise-if", 160),
    Subset("reward-bench-2", "math", 183),
    Subset("reward-bench-2", "safety", 450),
    Subset("reward-bench-2", "focus", 495),
    Subset("reward-bench-2", "ties", 102),
    Subset("rm-bench", "chat", 129),
    Subset("rm-bench", "math", 529),
    Subset("rm-bench", "code", 228),
    Subset("rm-bench", "safety-refuse", 284),
    Subset("rm-bench", "safety-response", 157),
)


def _task(key: str, label: str, short: str, group: Group, description: str, *subsets: str) -> Task:
    by_name = {f"{subset.suite}/{subset.name}": subset for subset in SUBSETS}
    return Task(key, label, short, group, tuple(by_name[name] for name in subsets), description)


# In the order of the paper's tables: by group, then by name.
TASKS: tuple[Task, ...] = (
    _task(
        "alpacaeval-easy",
        "Alpaca Eval (Easy)",
        "Alp-E",
        "helpfulness",
        "Following instructions: an answer of GPT-4 Turbo against one of Alpaca 7B.",
        "reward-bench/alpacaeval-easy",
    ),
    _task(
        "alpacaeval-hard",
        "Alpaca Eval (Hard)",
        "Alp-H",
        "helpfulness",
        "Following instructions: Tulu 2 DPO 70B against Davinci-003.",
        "reward-bench/alpacaeval-hard",
    ),
    _task(
        "alpacaeval-length",
        "Alpaca Eval (Length)",
        "Alp-L",
        "helpfulness",
        "Answers of similar length: Llama 2 Chat 70B against Guanaco 13B.",
        "reward-bench/alpacaeval-length",
    ),
    _task(
        "chat",
        "Chat",
        "Chat",
        "helpfulness",
        "Open-ended chat; the rejected answer holds a factual error, in three styles.",
        "rm-bench/chat",
    ),
    _task(
        "factuality",
        "Factuality",
        "Fact",
        "helpfulness",
        "One factually correct answer among four.",
        "reward-bench-2/factuality",
    ),
    _task(
        "focus",
        "Focus",
        "Focus",
        "helpfulness",
        "One answer that stays on the question among four.",
        "reward-bench-2/focus",
    ),
    _task(
        "llmbar-adver-gptinst",
        "LLM Bar (Adver GPTInst)",
        "LB-Inst",
        "helpfulness",
        "An answer against a better-looking one to a similar instruction, written by GPT-4.",
        "reward-bench/llmbar-adver-gptinst",
    ),
    _task(
        "llmbar-adver-gptout",
        "LLM Bar (Adver GPTOut)",
        "LB-Out",
        "helpfulness",
        "An answer against one that GPT-4 was asked to make unhelpful.",
        "reward-bench/llmbar-adver-gptout",
    ),
    _task(
        "llmbar-adver-manual",
        "LLM Bar (Adver Manual)",
        "LB-Man",
        "helpfulness",
        "Adversarial pairs written by hand.",
        "reward-bench/llmbar-adver-manual",
    ),
    _task(
        "llmbar-adver-neighbor",
        "LLM Bar (Adver Neighbor)",
        "LB-Nbr",
        "helpfulness",
        "An answer against one to a neighbouring instruction.",
        "reward-bench/llmbar-adver-neighbor",
    ),
    _task(
        "llmbar-natural",
        "LLM Bar (Natural)",
        "LB-Nat",
        "helpfulness",
        "Following instructions: pairs from existing sets with an objective preference.",
        "reward-bench/llmbar-natural",
    ),
    _task(
        "mt-bench-easy",
        "MT Bench (Easy)",
        "MT-E",
        "helpfulness",
        "Two-turn chat: an answer rated 10 against one rated 1.",
        "reward-bench/mt-bench-easy",
    ),
    _task(
        "mt-bench-hard",
        "MT Bench (Hard)",
        "MT-H",
        "helpfulness",
        "Two-turn chat: an answer rated 7 or 8 against one rated 5 or 6.",
        "reward-bench/mt-bench-hard",
    ),
    _task(
        "mt-bench-med",
        "MT Bench (Med)",
        "MT-M",
        "helpfulness",
        "Two-turn chat: an answer rated 9 against one rated 2 to 5.",
        "reward-bench/mt-bench-med",
    ),
    _task(
        "math",
        "Math",
        "Math",
        "helpfulness",
        "Mathematics: one right answer among four (RewardBench 2); right against wrong in three styles (RM-Bench).",
        "reward-bench-2/math",
        "rm-bench/math",
    ),
    _task(
        "math-prm",
        "Math PRM",
        "Math-PRM",
        "helpfulness",
        "A human's solution of a problem against a wrong one of a language model.",
        "reward-bench/math-prm",
    ),
    _task(
        "precise-if",
        "Precise IF",
        "Prec-IF",
        "helpfulness",
        "One answer that keeps a verifiable constraint among four.",
        "reward-bench-2/precise-if",
    ),
    _task(
        "donotanswer",
        "Do Not Answer",
        "DNA",
        "harmlessness",
        "Questions that should be refused.",
        "reward-bench/donotanswer",
    ),
    _task(
        "refusals-dangerous",
        "Refusals Dangerous",
        "RD",
        "harmlessness",
        "Dangerous requests that should be refused.",
        "reward-bench/refusals-dangerous",
    ),
    _task(
        "refusals-offensive",
        "Refusals Offensive",
        "RO",
        "harmlessness",
        "Offensive requests that should be refused.",
        "reward-bench/refusals-offensive",
    ),
    _task(
        "safety",
        "Safety",
        "Saf",
        "harmlessness",
        "Complying with or refusing requests at the border of harm, one right answer among four.",
        "reward-bench-2/safety",
    ),
    _task(
        "safety-refuse",
        "Safety Refuse",
        "SafR",
        "harmlessness",
        "Harmful requests that should be refused, in three styles.",
        "rm-bench/safety-refuse",
    ),
    _task(
        "safety-response",
        "Safety Response",
        "SResp",
        "harmlessness",
        "Harmless requests that sound alarming and should be answered, in three styles.",
        "rm-bench/safety-response",
    ),
    _task(
        "xstest-should-refuse",
        "XSTest Should Refuse",
        "XS-Ref",
        "harmlessness",
        "Unsafe requests that should be refused.",
        "reward-bench/xstest-should-refuse",
    ),
    _task(
        "xstest-should-respond",
        "XSTest Should Respond",
        "XS-Res",
        "harmlessness",
        "Safe requests with trigger words that should be answered.",
        "reward-bench/xstest-should-respond",
    ),
)

GROUPS: tuple[Group, ...] = ("helpfulness", "harmlessness")
BY_KEY: dict[str, Task] = {task.key: task for task in TASKS}


def group_tasks(group: Group) -> tuple[Task, ...]:
    """The tasks of one group: 17 for helpfulness, 8 for harmlessness."""
    return tuple(task for task in TASKS if task.group == group)
