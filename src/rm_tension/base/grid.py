"""The 54 reward models, the 18 trios, and the path of every artefact."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Literal

from rm_tension.base.config import Grid

Split = Literal["train", "test", "benchmarks"]


@dataclass(frozen=True, order=True)
class Trio:
    """The reward models of one backbone and seed, one per objective: the unit after training."""

    backbone: str
    seed: int

    @property
    def key(self) -> str:
        return f"{self.backbone}-{self.seed}"

    def model(self, objective: str) -> "Model":
        return Model(self.backbone, objective, self.seed)

    def models(self, grid: Grid) -> "list[Model]":
        return [self.model(objective) for objective in grid.objectives]


@dataclass(frozen=True, order=True)
class Model:
    """One reward model."""

    backbone: str
    objective: str
    seed: int

    @property
    def key(self) -> str:
        return f"{self.backbone}-{self.objective}-{self.seed}"

    @property
    def trio(self) -> Trio:
        return Trio(self.backbone, self.seed)


def trios(grid: Grid, profile: str) -> Iterator[Trio]:
    """Yield all trios of a profile, backbone by backbone (18 in the paper)."""
    axes = grid.axes(profile)
    return (Trio(backbone, seed) for backbone, seed in product(axes.backbones, axes.seeds))


def models(grid: Grid, profile: str) -> Iterator[Model]:
    """Yield all reward models of a profile, trio by trio (54 in the paper)."""
    return chain.from_iterable(trio.models(grid) for trio in trios(grid, profile))


@dataclass(frozen=True)
class Paths:
    """Where a profile keeps its files, below `root`, the repository, as dvc.yaml has it."""

    profile: str
    root: Path = Path()

    @property
    def data(self) -> Path:
        return self.root / "data" / self.profile

    def texts(self, split: Split) -> Path:
        """Return a table with dataset, subset, item_id, prompt, answers (chosen first), n_chosen.

        Of pairs (train, test) the answers are whole dialogues and the prompt is empty.
        """
        return self.data / f"{split}.parquet"

    @property
    def provenance(self) -> Path:
        """Return the JSON of the files that the data came from, their checks and stand-ins."""
        return self.data / "provenance.json"

    @property
    def all_tokens(self) -> Path:
        return self.root / "tokens" / self.profile

    def tokens(self, backbone: str, split: Split) -> Path:
        """Return a table with dataset, subset, item_id, and answers as lists of token ids.

        Of the training pairs also too_long: training drops the pair, whose sides are cut here.
        """
        return self.all_tokens / backbone / f"{split}.parquet"

    def tokenizer(self, backbone: str) -> Path:
        return self.all_tokens / backbone / "tokenizer"

    def backbone(self, backbone: str) -> Path:
        return self.root / "models" / self.profile / "backbones" / backbone

    def backbone_provenance(self, backbone: str) -> Path:
        """Return the JSON of what a backbone was loaded from (`provenance.LoadedWeights`)."""
        return self.root / "models" / self.profile / "provenance" / f"{backbone}.json"

    def reward_models(self, trio: Trio) -> Path:
        return self.root / "models" / self.profile / "reward" / trio.key

    def reward_model(self, model: Model) -> Path:
        return self.reward_models(model.trio) / model.objective

    def activations(self, trio: Trio) -> Path:
        return self.root / "activations" / self.profile / f"{trio.key}.safetensors"

    def rewards(self, trio: Trio) -> Path:
        """Return a table with `evaluate.conditions.COLUMNS`."""
        return self.root / "rewards" / self.profile / f"{trio.key}.parquet"

    def margins(self, trio: Trio) -> Path:
        """Return a table with `evaluate.conditions.MARGINS`."""
        return self.root / "margins" / self.profile / f"{trio.key}.parquet"

    @property
    def results(self) -> Path:
        return self.root / "results" / self.profile

    @property
    def reports(self) -> Path:
        return self.root / "reports" / self.profile

    def run(self, stage: str, key: str = "") -> Path:
        """Return the JSON of what the stage did; how it ran is in `runs.machine_of` of it."""
        return self.root / "runs" / self.profile / f"{'-'.join(filter(None, (stage, key)))}.json"

    @property
    def histories(self) -> Path:
        return self.root / "runs" / self.profile / "steps"

    def history(self, model: Model) -> Path:
        """Return the metrics of every training step, one JSON object a line."""
        return self.histories / f"{model.key}.jsonl"

    def state(self, stage: str, key: str) -> Path:
        """Return where an interrupted stage keeps its state; DVC deletes outputs at the start."""
        return self.root / ".state" / self.profile / f"{stage}-{key}"
