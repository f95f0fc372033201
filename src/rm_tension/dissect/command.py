"""`rm-tension dissect`: the neurons of any reward model, and what it does without them."""

import hashlib
import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt
from numpy.typing import NDArray

from rm_tension.backbone.neurons import neuron_shape
from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write, write_json
from rm_tension.dissect.neurons import Neurons
from rm_tension.dissect.page import write_page
from rm_tension.dissect.parts import Parts, digest_of
from rm_tension.dissect.plan import (
    PERCENT,
    Ablation,
    ablations,
    control_table,
    neuron_table,
    overlaps,
    summary,
    task_table,
    with_changes,
)
from rm_tension.dissect.texts import as_items, as_table, read_tasks, read_text_sets
from rm_tension.evaluate.evaluation import Texts
from rm_tension.model.device import TokenBudget
from rm_tension.model.reward_model import takes_rows
from rm_tension.score.items import Item
from rm_tension.score.loading import TOKENS_PER_BATCH, RewardModel, find_model, load_reward_model

LIBRARIES = ("rm-tension", "torch", "transformers")  # whose versions may decide a result


def main(
    *,
    model: str,
    texts: Annotated[list[str], Parameter(consume_multiple=True)],
    out: Path,
    backbone: str | None = None,
    tasks: Path | None = None,
    percents: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (5, 10, 20, 30),
    draws: NonNegativeInt = 5,
    no_attribution: bool = False,
    max_pairs: PositiveInt | None = None,
    seed: int = 0,
    template: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    dtype: str | None = None,
    profile: str | None = None,
    device: str | None = None,
) -> None:
    """Score the neurons of a reward model on sets of pairs, switch them off, and write a page.

    Nothing is trained. Into the folder go rewards.parquet, neurons.parquet, curves.csv,
    controls.csv, overlap.csv, tasks.csv, numbers.json, figures and index.html. What an interrupted
    run of the same inputs has computed is used again.

    Args:
        model: As in `score`: a key, a folder ./DIR, or hf://ORG/NAME@REV.
        texts: NAME=FILE of JSON lines with pairs, one or more; FILE may be
            hf://datasets/ORG/NAME@REV/FILE.
        out: The folder to write, new or of an earlier dissection.
        backbone: That the model was trained from, like `model`: for scores of the change, and for
            controls that compare with its neurons.
        tasks: The data stage's table of benchmark items, such as data/paper/benchmarks.parquet: the
            25 tasks of the paper.
        percents: Shares of all neurons to ablate, by every score; 10 is always among them.
        draws: Of each control that is drawn at random.
        no_attribution: Leave out that score, whose backward pass takes more memory.
        max_pairs: The first so many of each set.
        seed: Of the random score and of draws.
        template: As in `score`.
        dtype: As in `score`.
        profile: Of keys.
        device: A torch device, such as cpu or cuda:1. Default: the best there is.
    """
    if out.is_file():
        raise UserError(f"--out {out}: a file; name a folder")
    for name in ("figures", "index.html"):
        if (out / name).exists() and not (out / "parts").is_dir():
            raise UserError(
                f"--out {out}: has {name}, not of a dissection, which would be replaced; name a "
                "new folder"
            )
    if wrong := [percent for percent in percents if not 0 < percent <= 100]:
        raise UserError(f"--percents {wrong[0]:g}: must be more than 0 and at most 100")
    sets = read_text_sets(texts, max_pairs)
    items = read_tasks(tasks) if tasks is not None else None
    base = find_model(backbone, profile) if backbone is not None else None
    rm = load_reward_model(model, profile=profile, device=device, template=template, dtype=dtype)
    print(rm)
    dissection = Dissection.of(rm, sets, out, base, items, not no_attribution, seed)
    dissection.write(out, sorted({float(percent) for percent in (PERCENT, *percents)}), draws)
    print(f"{out / 'index.html'} ({dissection.parts.reused} parts were there)")


@dataclass(frozen=True)
class Dissection:
    """A reward model, its neurons, the texts to score, and the parts that are computed.

    `tables` and `texts` have the same items, under "pairs" and "tasks".
    """

    rm: RewardModel
    found: Neurons
    tables: dict[str, pd.DataFrame]
    texts: dict[str, Texts]
    parts: Parts
    inputs: dict[str, Any]

    @staticmethod
    def of(
        rm: RewardModel,
        sets: dict[str, list[Item]],
        out: Path,
        backbone: Path | None,
        tasks: pd.DataFrame | None,
        attribution: bool,
        seed: int,
    ) -> "Dissection":
        """Compute statistics where they are not there, and encode all texts."""
        tables = {"pairs": pd.concat([as_table(*one) for one in sets.items()], ignore_index=True)}
        scored = {"pairs": sets}
        if tasks is not None:
            tables["tasks"], scored["tasks"] = tasks, {"tasks": as_items(tasks)}
        base = rm.backbone(backbone) if backbone is not None else None
        inputs = {
            "model": digest_of(rm.folder),
            "backbone": digest_of(backbone) if backbone is not None else None,
            "texts": {name: _digest(one) for name, one in sets.items()},
            "tasks": _digest(scored["tasks"]["tasks"]) if tasks is not None else None,
            "template": rm.settings.template,
            "max_length": rm.settings.max_length,
            "dtype": str(rm.model.dtype),
            "device": rm.compute.device.type,
            "rows": takes_rows(rm.model),
            "attribution": attribution,
            "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        }
        parts = Parts(out / "parts", inputs)
        statistics = {
            name: parts.statistics(name, partial(rm.statistics, name, one, base, attribution))
            for name, one in sets.items()
        }
        texts = {}
        for name, table in tables.items():
            answers: list[Any] = []
            for set_name, items in scored[name].items():
                answers += rm.encode(items, set_name)
            encoded = table.assign(answers=pd.Series(answers))
            texts[name] = Texts.lay_out(encoded, TokenBudget(TOKENS_PER_BATCH))
        found = Neurons(statistics, base is not None, seed)
        return Dissection(rm, found, tables, texts, parts, inputs)

    def write(self, out: Path, percents: list[float], draws: int) -> None:
        """Ablate, and write all numbers, figures and the page."""
        rewards, summaries = self._ablate(percents, draws)
        curves = with_changes(summaries["pairs"].drop(columns="subset"), "dataset")
        tables = {
            "curves": curves,
            "controls": control_table(curves),
            "overlap": overlaps(self.found, percents),
        }
        if "tasks" in summaries:
            tables["tasks"] = with_changes(task_table(summaries["tasks"]), "task")
        (out / "tasks.csv").unlink(missing_ok=True)  # of another model or other items
        for name, table in tables.items():
            with atomic_write(out / f"{name}.csv") as file:
                table.to_csv(file, index=False, float_format="%.10g")
        for name, table in (("rewards", rewards), ("neurons", neuron_table(self.found))):
            with atomic_write(out / f"{name}.parquet") as file:
                table.to_parquet(file, index=False)
        layers, neurons = neuron_shape(self.rm.model)
        numbers = {
            "model": str(self.rm),
            "inputs": self.inputs,
            "seed": self.found.seed,
            "layers": layers,
            "neurons": layers * neurons,
            "tokens": self.found.tokens,
        }
        for name, table in tables.items():  # JSON has no NaN
            numbers[name] = table.astype(object).where(table.notna(), None).to_dict("records")
        write_json(out / "numbers.json", numbers)
        write_page(out, str(self.rm), self.found, tables)

    def _ablate(
        self, percents: list[float], draws: int
    ) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
        """Return the reward of every answer under every ablation, and their `summary`."""
        rewards: list[pd.DataFrame] = []
        summaries: dict[str, list[pd.DataFrame]] = {name: [] for name in self.texts}
        for ablation in ablations(self.found, percents, draws):
            for name, texts in self.texts.items():
                if name == "tasks" and not ablation.on_tasks:
                    continue
                numbers = self._rewards(name, ablation)
                rewards.append(ablation.label(texts.rows).assign(reward=numbers))
                summaries[name].append(ablation.label(summary(self.tables[name], numbers)))
        concatenate = partial(pd.concat, ignore_index=True)
        return concatenate(rewards), {name: concatenate(one) for name, one in summaries.items()}

    def _rewards(self, name: str, ablation: Ablation) -> NDArray[np.float32]:
        rm = self.rm

        def compute() -> NDArray[np.float32]:
            label = f"{name} {ablation.text_set} {ablation.kind} {ablation.percent:g}%"
            with ablation.of(rm.model):
                return self.texts[name].scorer.score(rm.model, rm.compute, label)

        rewards = self.parts.rewards(name, ablation.key, compute)
        if not np.isfinite(rewards).all():
            raise UserError(f"{rm.folder}: rewards are not finite; the checkpoint is broken")
        return rewards


def _digest(items: Iterable[Item]) -> str:
    text = "\0".join("\1".join((item.prompt, *item.answers)) for item in items)
    return hashlib.sha256(text.encode()).hexdigest()
