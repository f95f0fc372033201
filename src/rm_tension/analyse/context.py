"""What a report must say about where its numbers come from: results/<profile>/context.json."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Context:
    """What went into the results.

    `comparable`: all of the real data did, so that the numbers may be held against the paper's.
    `task_percent` is the share of neurons that the ablations on the tasks take; `missing_tasks` are
    those of which at least one subset has no items.
    """

    profile: str
    title: str
    comparable: bool
    task_percent: int
    stand_ins: str | None
    trios: list[str]
    missing_trios: list[str]
    missing_tasks: list[str]
