"""Which HH-RLHF files each objective is trained and tested on (METHOD.md sections 1 and 2)."""

from rm_tension.base.config import HHSource, Objective

TRAIN_SOURCES: dict[Objective, tuple[HHSource, ...]] = {
    "helpful": ("helpful-base", "helpful-online", "helpful-rejection-sampled"),
    "harmless": ("harmless-base",),
    "mixed": ("helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base"),
}
TEST_SOURCES: dict[Objective, tuple[HHSource, ...]] = {
    "helpful": ("helpful-base",),
    "harmless": ("harmless-base",),
    "mixed": ("helpful-base", "harmless-base"),
}
