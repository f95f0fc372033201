"""Train, dissect and re-render "Understanding helpfulness and harmless tension in reward models" (arXiv 2606.13209)."""

import sys
from typing import TYPE_CHECKING

from rm_tension.base import portable

if TYPE_CHECKING:
    from rm_tension.score.loading import RewardModel, load_reward_model

__all__ = ["RewardModel", "load_reward_model"]

if sys.argv[:1] == ["-m"]:  # as long as Python looks for a program of ours; a library's user chooses for himself
    portable.before_numpy()


def __getattr__(name: str) -> object:
    """Import the loader, and torch with it, only for who asks for it: most stages need neither."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rm_tension.score import loading

    return getattr(loading, name)
