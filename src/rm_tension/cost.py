"""Estimate hours and memory of every stage that computes on a model (docs/RUN.md).

A batch takes max(FLOP / rate + bytes / bandwidth, kernels x launch): matrix products run at a share
of the device's peak, all other kernels read and write memory, and on small models the host cannot
launch kernels as fast as the GPU ends them.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

from rm_tension.base.config import (
    Dtype,
    Family,
    HubFiles,
    MiniatureData,
    Params,
    Precision,
    Profile,
    RandomWeights,
    TrainedTokenizer,
)
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Trio
from rm_tension.data.sources import OFFICIAL, RawFile, miniature_files
from rm_tension.evaluate.conditions import hh_conditions, task_conditions
from rm_tension.evaluate.scores import SCORES
from rm_tension.paper.pairs import PairSplit

LENGTHS = Path(__file__).with_name("lengths.csv")
HOUR, GB = 3600.0, 1e9
START = 5.0  # seconds: imports and reading
PROCESS = 0.6  # GB: Python, torch, transformers and the tables; on a GPU, its context
BYTES: dict[Precision, int] = {"float32": 4, "tf32": 4, "bfloat16": 2}

Kind = Literal["train", "sums", "score"]  # of a pass through a model
Rows = Literal["pairs", "items"]  # HH-RLHF's, or a benchmark's


@dataclass(frozen=True)
class Cost:
    """Of one stage. Without a GPU `gpu_gb` is 0, and `memory_gb` of the machine is all of it."""

    seconds: float
    gpu_gb: float
    memory_gb: float


@dataclass(frozen=True)
class Device:
    """Peak FLOP/s by precision, memory bandwidth in bytes/s, and seconds to launch a kernel.

    `products` and `passes` are the shares of peak and bandwidth that kernels reach.
    """

    peak: Mapping[Precision, float]
    bandwidth: float
    launch: float = 6e-6  # a PyTorch call from Python
    products: float = 0.5
    passes: float = 0.8
    gpu: bool = True


# Data sheets, dense; A100 and H100 are the SXM ones with 80 GB.
DEVICES: dict[str, Device] = {
    "H100": Device({"bfloat16": 989e12, "tf32": 495e12, "float32": 67e12}, 3.35e12),
    "A100": Device({"bfloat16": 312e12, "tf32": 156e12, "float32": 19.5e12}, 2.04e12),
    "4090": Device({"bfloat16": 165e12, "tf32": 82.6e12, "float32": 82.6e12}, 1.01e12),
    # measured on two cores of an x86-64 server, SmolLM2-135M forward: 1,140 tokens/s in bfloat16,
    # 580 in float32, with all that is no product
    "cpu": Device(
        {"bfloat16": 0.24e12, "tf32": 0.12e12, "float32": 0.12e12},
        bandwidth=math.inf,
        launch=30e-6,
        products=1.0,
        gpu=False,
    ),
}
# What we expect of a GPU at best and at worst
BEST = partial(replace, products=0.7, passes=0.9, launch=4e-6)
WORST = partial(replace, products=0.4, passes=0.7, launch=10e-6)


@dataclass(frozen=True)
class Shape:
    """A backbone without language-model head; `dtype` is that of the published weights."""

    family: Family
    layers: int
    width: int
    mlp: int  # neurons of a block
    heads: int
    key_heads: int  # of keys and values, which several heads may share
    vocabulary: int
    positions: int
    dtype: Dtype

    @property
    def block(self) -> int:
        """Weights of a block's matrices; Llama has a gate beside the MLP's two."""
        attention = 2 * self.width**2 * (self.heads + self.key_heads) // self.heads
        return attention + (3 if self.family == "llama" else 2) * self.width * self.mlp

    @property
    def parameters(self) -> int:
        """All weights, with embeddings, norms and biases."""
        if self.family == "llama":
            return self.layers * (self.block + 2 * self.width) + (self.vocabulary + 1) * self.width
        embeddings = (self.vocabulary + self.positions + 2) * self.width
        return self.layers * (self.block + self.mlp + 9 * self.width) + embeddings

    @property
    def kept_by_autograd(self) -> int:
        """Numbers for each token (`KEPT`)."""
        widths, mlps = KEPT[self.family]
        return self.layers * (widths * self.width + mlps * self.mlp)


SHAPES = {
    "HuggingFaceTB/SmolLM2-135M": Shape("llama", 30, 576, 1536, 9, 3, 49152, 8192, "bfloat16"),
    "HuggingFaceTB/SmolLM2-360M": Shape("llama", 32, 960, 2560, 15, 5, 49152, 8192, "bfloat16"),
    "HuggingFaceTB/SmolLM2-1.7B": Shape("llama", 24, 2048, 8192, 32, 32, 49152, 8192, "bfloat16"),
    "openai-community/gpt2": Shape("gpt2", 12, 768, 3072, 12, 12, 50257, 1024, "float32"),
    "openai-community/gpt2-medium": Shape("gpt2", 24, 1024, 4096, 16, 16, 50257, 1024, "float32"),
    "openai-community/gpt2-large": Shape("gpt2", 36, 1280, 5120, 20, 20, 50257, 1024, "float32"),
}
# What autograd keeps of a block for a token, in widths and in MLP widths, by saved_tensors_hooks.
KEPT: dict[Family, tuple[int, int]] = {"llama": (13, 4), "gpt2": (9, 5)}
# A block's kernels, and the bytes that those beside products and attention read and write for a
# token, by width and by MLP width: of our code on meta tensors, by TorchDispatchMode
# (tests/test_cost.py). Training is bfloat16 with autocast, forward and backward; the others float32
# with padded attention.
BLOCK: dict[tuple[Family, bool], tuple[int, int, int]] = {
    ("gpt2", True): (47, 170, 18),
    ("llama", True): (130, 440, 28),
    ("gpt2", False): (23, 190, 8),
    ("llama", False): (39, 257, 20),
}
OUTSIDE = 30  # kernels of a pass outside the blocks
OPTIMISER = 10  # times that a step reads or writes each weight: norm, clipping, fused AdamW
SUMS = (10, 11)  # kernels a block, and times that statistics read or write a model's activations
# Attention in float32 on a GPU: rows are padded to the longest, and the kernel makes three TF32
# products for one. Counted and timed on 3,000 pairs and 1,500 items in batches of 16,384 tokens:
PADDING: dict[Rows, float] = {"pairs": 2.6, "items": 1.8}  # computed by attended
MASKS: dict[Rows, float] = {"pairs": 0.007, "items": 0.027}  # seconds of the host a batch
TF32_PRODUCTS = 3
ATTENDED: dict[Rows, float] = {"pairs": 0.63, "items": 0.26}  # tokens that one sees, by row tokens


@dataclass(frozen=True)
class Batches:
    """`count` batches alike: `tokens` of rows that have `row_tokens` each."""

    kind: Kind
    rows: Rows
    precision: Precision
    count: float
    tokens: float
    row_tokens: float
    weights: Dtype = "float32"


Rate = Callable[[Shape, Batches], float]  # seconds of one batch


@dataclass(frozen=True)
class Work:
    """What a stage computes and holds: `held_gb` where it computes, `host_gb` beside a GPU."""

    kind: str
    backbone: str
    shape: Shape
    held_gb: float
    host_gb: float
    batches: tuple[Batches, ...] = ()

    @property
    def tokens(self) -> float:
        """Row tokens through a model, without padding."""
        return sum(batches.count * batches.tokens for batches in self.batches)


def roofline(device: Device, shape: Shape, batches: Batches) -> float:
    """Return the seconds of one batch on a device."""
    trains, tokens, layers = batches.kind == "train", batches.tokens, shape.layers
    kernels, widths, mlps = BLOCK[shape.family, trains]
    launches = layers * kernels + OUTSIDE
    moved = float(layers * tokens * (widths * shape.width + mlps * shape.mlp))
    seen = ATTENDED[batches.rows] * batches.row_tokens
    products = 2.0 * layers * shape.block * tokens / device.peak[batches.precision]
    attention = 4.0 * layers * shape.width * tokens * seen / device.peak[batches.precision]
    host = 0.0
    if device.gpu and batches.precision != "bfloat16":
        padded = 4.0 * layers * shape.width * tokens * seen * PADDING[batches.rows]
        attention = TF32_PRODUCTS * padded / device.peak["tf32"]
        host = MASKS[batches.rows] * tokens / 16384
    if trains:  # twice the products again backwards, and 2.5 times the attention
        products, attention = 3 * products, 3.5 * attention
        moved += OPTIMISER * BYTES[batches.weights] * shape.parameters
    if batches.kind == "sums":
        moved += layers * tokens * SUMS[1] * 4 * shape.mlp
        launches += layers * SUMS[0]
    computing = (products + attention) / device.products
    moving = moved / (device.passes * device.bandwidth)
    return max(computing + moving, launches * device.launch + host)


@dataclass(frozen=True)
class Amount:
    """A number of rows, and their tokens in all."""

    rows: float
    tokens: float

    @property
    def mean(self) -> float:
        """Tokens of a row."""
        return self.tokens / max(self.rows, 1e-9)


@dataclass(frozen=True)
class Backbone:
    """One backbone of a profile, with the lines of lengths.csv of its tokenizer by data set."""

    params: Params
    profile: Profile
    key: str
    shape: Shape
    lengths: Mapping[str, Mapping[str, float]]

    def works(self, name: str) -> Iterator[tuple[str, Work]]:
        """Yield the work of its stages under their names in dvc.yaml; `name` is the profile's."""
        grid = self.params.grid
        yield grid.stage("backbone", name, self.key), self._pretraining()
        trainings = {objective: self._training(objective) for objective in grid.objectives}
        statistics, scoring = self._statistics(), self._scoring()
        for seed in grid.axes(name).seeds:
            trio = Trio(self.key, seed)
            for objective, training in trainings.items():
                yield grid.stage("train", name, trio.model(objective).key), training
            yield grid.stage("activations", name, trio.key), statistics
            yield grid.stage("evaluate", name, trio.key), scoring

    def _pretraining(self) -> Work:
        """Hub weights are read and written; random ones are pretrained, which needs logits."""
        weights, shape = self.profile.backbones[self.key].weights, self.shape
        life = weights.pretraining if isinstance(weights, RandomWeights) else None
        if life is None:
            held = 2.0 * shape.parameters * BYTES[shape.dtype]
            return self._work("backbone", held, held)
        tokens = life.chunks_per_step * life.length
        held = 16 * shape.parameters + 4 * tokens * (shape.kept_by_autograd + 3 * shape.vocabulary)
        steps = Batches("train", "pairs", "float32", life.steps, tokens, life.length)
        return self._work("backbone", held, held, steps)

    def _training(self, objective: str) -> Work:
        """Weights, gradient and AdamW's two moments, and what autograd keeps of a micro-batch."""
        config, shape = self.profile.train, self.shape
        pairs = self._pairs("train", self.params.objectives[objective].train, trained=True)
        steps = max(1, math.ceil(pairs.rows / config.pairs_per_step))
        tokens = pairs.tokens / steps
        count = self.profile.epochs[objective] * steps
        # a step of long pairs has twice the tokens of another, and goes through in micro-batches
        largest = min(config.tokens_per_micro_batch, 2 * tokens)
        size = BYTES[config.weights]
        held = size * (4 * shape.parameters + largest * shape.kept_by_autograd)
        # beside a GPU three times the weights: a state to resume from, on its way to the disk
        batches = Batches(
            "train", "pairs", config.precision, count, tokens, pairs.mean, config.weights
        )
        return self._work("train", held, 3 * size * shape.parameters, batches)

    def _statistics(self) -> Work:
        """Pairs go through the backbone and each RM that was trained on them, layer by layer."""
        config, shape, pairs = self.profile.activations, self.shape, self.params.objectives
        amounts = [self._pairs("train", one.train) for one in pairs.values()]
        cap = config.max_pairs or math.inf
        summed = sum(min(one.rows, cap) * one.mean for one in amounts)
        union = self._pairs("train", {source for one in pairs.values() for source in one.train})
        size, budget = 4 * shape.parameters, config.tokens_per_batch
        # the backbone and two RMs; of a layer their activations, differences, squares and |a|
        live = budget * shape.mlp * (3 * BYTES[config.precision] + 6 * 4)
        through = partial(
            Batches, rows="pairs", precision=config.precision, tokens=budget, row_tokens=union.mean
        )
        models = through("sums", count=summed / budget)
        backbone = through("score", count=min(summed, union.tokens) / budget)
        # backward passes, as of a training without its gradients of weights, so at most
        sample = config.attribution
        drawn = [self._sample("train", one.train, sample.pairs) for one in pairs.values()]
        backward = Batches(
            "train",
            "pairs",
            config.precision,
            sum(one.tokens for one in drawn) / sample.tokens_per_batch,
            sample.tokens_per_batch,
            union.mean,
        )
        held = size + 4 * sample.tokens_per_batch * shape.kept_by_autograd
        return self._work(
            "activations", max(3 * size + live, held), 2 * size, models, backbone, backward
        )

    def _scoring(self) -> Work:
        """Every condition; an ablation keeps all output projections for their return."""
        config, shape, batches = self.profile.evaluate, self.shape, []

        def scored(rows: Rows, amount: Amount, conditions: int) -> Batches:
            budget = config.tokens_per_batch
            count = conditions * amount.tokens / budget
            return Batches("score", rows, config.precision, count, budget, amount.mean)

        groups = 1 + config.groups.number * len(SCORES)
        for pairs in self.params.objectives.values():
            test, tasks = hh_conditions(config), task_conditions(config, pairs.role)
            batches += [
                scored("pairs", self._pairs("test", pairs.test), len(list(test))),
                scored("items", self._items(ablated=True), len(list(tasks))),
                scored("items", self._items(ablated=False), 1),
                scored("pairs", self._sample("test", pairs.test, config.groups.pairs), groups),
            ]
        size, projections = 4 * shape.parameters, 4 * shape.layers * shape.mlp * shape.width
        live = 4 * config.tokens_per_batch * shape.kept_by_autograd / shape.layers
        return self._work("evaluate", size + projections + live, size, *batches)

    def _work(self, kind: str, held: float, host: float, *batches: Batches) -> Work:
        sizes = PROCESS + held / GB, PROCESS + host / GB
        return Work(kind, self.key, self.shape, *sizes, batches)

    def _sample(self, split: PairSplit, sources: Collection[str], size: int) -> Amount:
        """Return a sample of the pairs of some files, all if there are fewer."""
        pairs = self._pairs(split, sources)
        rows = min(pairs.rows, size)
        return Amount(rows, rows * pairs.mean)

    def _pairs(self, split: PairSplit, sources: Collection[str], trained: bool = False) -> Amount:
        """Return the pairs of some files; a cap keeps a share of all files that are named.

        Of pairs that training drops for their length no lengths were measured.
        """
        named = {one for pairs in self.params.objectives.values() for one in getattr(pairs, split)}
        files = {file.source: file for file in self._files if file.split == split}
        numbers = {source: file.rows[source] for source, file in files.items()}
        data = self.profile.data
        cap = (data.max_train_pairs if split == "train" else data.max_test_pairs) or math.inf
        share = min(1.0, cap / sum(numbers[source] for source in named))
        count = tokens = 0.0
        for source in sources:
            line = self._row(f"{files[source].data_set}/{source}")
            number = share * numbers[source] * (line["kept"] if trained else 1)
            count, tokens = count + number, tokens + number * line["mean"]
        return Amount(count, tokens)

    def _items(self, ablated: bool) -> Amount:
        """Return the benchmark items that are scored under ablations, or only without."""
        cap = self.profile.data.max_items_per_task or math.inf
        count = tokens = 0.0
        for file in self._files:
            for subset, number in file.rows.items() if file.split == "benchmarks" else ():
                if self.params.grid.ablates(file.data_set, subset) == ablated:
                    count += min(number, cap)
                    tokens += min(number, cap) * self._row(file.data_set)["mean"]
        return Amount(count, tokens)

    def _row(self, part: str) -> Mapping[str, float]:
        """Return the line of lengths.csv on the rows of a data set; raise UserError without one."""
        if part not in self.lengths:
            raise UserError(
                f"{LENGTHS.name}: no lengths of {part} in these tokens: measure, add them"
            )
        return self.lengths[part]

    @property
    def _files(self) -> Sequence[RawFile]:
        source = self.profile.data.source
        return miniature_files(source) if isinstance(source, MiniatureData) else OFFICIAL


def shape_of(profile: Profile, backbone: str) -> Shape:
    """Return the shape of a backbone; raise UserError if it is from the hub and not in SHAPES."""
    weights = profile.backbones[backbone].weights
    if isinstance(weights, HubFiles):
        if weights.repo not in SHAPES:
            raise UserError(
                f"{weights.repo}: its cost is not known; add its config.json's sizes to SHAPES in "
                f"{Path(__file__).name}"
            )
        return SHAPES[weights.repo]
    tokenizer = profile.tokens.tokenizers[profile.backbones[backbone].tokenizer]
    vocabulary = tokenizer.vocabulary if isinstance(tokenizer, TrainedTokenizer) else 50257
    heads, width, length = weights.heads, weights.width, profile.tokens.max_length
    sizes = weights.layers, width, 4 * width, heads, heads, vocabulary, length
    return Shape(weights.family, *sizes, "float32")


def all_works(params: Params, profile: str) -> tuple[dict[str, Work], list[str]]:
    """Return the work of each stage, and for each backbone without one why it is not known."""
    works: dict[str, Work] = {}
    unknown: list[str] = []
    settings = params.profiles[profile]
    for key in settings.backbones:
        try:
            lengths, shape = _lengths_of(settings, key), shape_of(settings, key)
            works |= dict(Backbone(params, settings, key, shape, lengths).works(profile))
        except UserError as error:
            unknown.append(f"{key}: {error}")
    return works, unknown


def _lengths_of(profile: Profile, backbone: str) -> dict[str, dict[str, float]]:
    """Return the lines of lengths.csv on rows of a backbone's tokenizer, by data set."""
    tokenizer = profile.tokens.tokenizers[profile.backbones[backbone].tokenizer]
    name = tokenizer.repo if isinstance(tokenizer, HubFiles) else "miniature"
    lines = pd.read_csv(LENGTHS, comment="#")
    lines = lines[(lines["tokenizer"] == name) & (lines["part"] == "row")]
    rows = lines[["data", "kept", "mean"]].itertuples(index=False)
    return {data: {"kept": kept, "mean": mean} for data, kept, mean in rows}


def stage_costs(params: Params, profile: str, device: str) -> dict[str, Cost]:
    """Return the cost of each stage by its name in dvc.yaml; stages that are not known are absent.

    `device` is one of DEVICES.
    """
    rate, gpu = partial(roofline, DEVICES[device]), DEVICES[device].gpu
    works, _ = all_works(params, profile)
    return {stage: cost_of(work, rate, gpu) for stage, work in works.items()}


def cost_of(work: Work, rate: Rate, gpu: bool) -> Cost:
    """Return the cost of a stage; a backbone is always made on the CPU."""
    if work.kind == "backbone":
        rate, gpu = partial(roofline, DEVICES["cpu"]), False
    seconds = START + sum(one.count * rate(work.shape, one) for one in work.batches if one.count)
    if gpu:
        return Cost(seconds, work.held_gb, work.host_gb)
    return Cost(seconds, 0.0, work.held_gb)


def shortest(works: Mapping[str, Work], costs: Mapping[str, Cost], jobs: int) -> float:
    """Return the seconds that `jobs` devices need at least.

    They share all the work, but a trio's training, statistics and scoring wait for each other.
    """
    chains: dict[str, dict[str, float]] = {}
    for stage, work in works.items():
        longest = chains.setdefault(work.backbone, {})
        longest[work.kind] = max(longest.get(work.kind, 0.0), costs[stage].seconds)
    chain = max((sum(longest.values()) for longest in chains.values()), default=0.0)
    return max(chain, sum(cost.seconds for cost in costs.values()) / jobs)
