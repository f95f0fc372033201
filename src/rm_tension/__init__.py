"""Train, dissect and re-render arXiv 2606.13209.

"Understanding helpfulness and harmless tension in reward models".
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rm_tension.score.loading import RewardModel, load_reward_model

__all__ = ["RewardModel", "load_reward_model"]


def __getattr__(name: str) -> object:
    """Import the loader, and torch with it, only when it is asked for: most stages need neither."""
    if name == "__version__":
        return version("rm-tension")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rm_tension.score import loading

    return getattr(loading, name)
