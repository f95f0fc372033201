"""What each cell of the grid costs: the stages that compute on a model, backbone, train, activations and evaluate.

FLOP are 2 for each weight of the blocks and token, twice as many again backwards, and those of attention. Memory is
what the formulas of the methods below add up to; the sizes of what autograd keeps were counted on one block each.
"""

from collections.abc import Collection, Iterable, Iterator

from rm_tension.base.config import HubFiles, Objective, Params, Precision
from rm_tension.base.grid import Model, Trio
from rm_tension.estimate.costs import Cost
from rm_tension.estimate.lengths import Lengths, Pass, Workload, workload
from rm_tension.estimate.shapes import shape_of
from rm_tension.estimate.speeds import Speed
from rm_tension.estimate.work import Work, forward, one_pass
from rm_tension.evaluate.conditions import hh_conditions, task_conditions

GB = 1e9
BYTES = {"float32": 4, "tf32": 4, "bfloat16": 2}
START = 5.0  # seconds: imports and reading
PROCESS = 0.6  # GB: Python, torch, transformers and the tables; on a GPU, its context
# Numbers that autograd keeps of a block for a token, in widths and in MLP widths: counted by saved_tensors_hooks in
# bfloat16, with attention by SDPA. In float32 a Llama block keeps 11 widths, for its norms are computed in that.
KEPT = {"llama": (13, 4), "gpt2": (9, 5)}
REWARD = 6.3  # bytes in the parquet files of the miniature


def estimate(params: Params, profile: str, speed: Speed) -> list[Cost]:
    """All cells of a profile, backbone by backbone; UserError where a size or a speed is not known."""
    settings = params.profiles[profile]
    rows: dict[str, Workload] = {}  # by tokenizer
    costs: list[Cost] = []
    for backbone in params.grid.axes(profile).backbones:
        tokenizer = settings.backbones[backbone].tokenizer
        if tokenizer not in rows:
            rows[tokenizer] = workload(params.grid, profile, settings, backbone)
        costs += _Backbone(params, profile, backbone, speed, rows[tokenizer]).cells()
    return costs


class _Backbone:
    """The costs of a backbone's cells."""

    def __init__(
        self, params: Params, profile: str, backbone: str, speed: Speed, rows: Workload
    ) -> None:
        self._grid, self._profile = params.grid, params.profiles[profile]
        self._name, self._key, self._speed, self._rows = profile, backbone, speed, rows
        self._shape = shape_of(self._profile, backbone)

    def cells(self) -> Iterator[Cost]:
        yield self._backbone()
        for seed in self._grid.axes(self._name).seeds:
            trio = Trio(self._key, seed)
            models = [trio.model(objective) for objective in self._grid.objectives]
            yield from map(self._train, models)
            yield self._activations(trio, models)
            yield self._evaluate(trio)

    def _backbone(self) -> Cost:
        """Hub weights are read and written, random ones pretrained with a head of logits, on the CPU."""
        weights, shape = self._profile.backbones[self._key].weights, self._shape
        size = shape.parameters * shape.weight_bytes
        life = None if isinstance(weights, HubFiles) else weights.pretraining
        if life is None:
            return self._cost(
                "backbone",
                self._key,
                Work(0, 0),
                0,
                "float32",
                memory=2 * size,
                host=2 * size,
                disk=size,
            )
        batch = life.chunks_per_step * life.length
        work = Work(batch, batch * life.length) * life.steps
        flop = 3 * (forward(shape, work) + 2 * shape.vocabulary * shape.width * work.tokens)
        memory = 4 * size + 4 * batch * (self._kept + 3 * shape.vocabulary)
        return self._cost(
            "backbone", self._key, work, flop, "float32", memory=memory, host=memory, disk=size
        )

    def _train(self, model: Model) -> Cost:
        """Weights, gradient and AdamW's two moments, and what autograd keeps of a micro-batch."""
        config, shape = self._profile.train, self._shape
        parts = self._pairs("train", self._grid.pairs[model.objective].train)
        work = (
            one_pass(parts, config.tokens_per_micro_batch, config.pairs_per_step)
            * config.epochs[model.objective]
        )
        width = BYTES[config.weights]
        size = shape.parameters * width
        return self._cost(
            "train",
            model.key,
            work,
            3 * forward(shape, work),
            config.precision,
            memory=4 * size + width * work.largest * self._kept,
            host=3 * size,  # a state to resume from, on its way to the disk
            disk=size,
            after=(self._stage("backbone", self._key),),
        )

    def _activations(self, trio: Trio, models: Collection[Model]) -> Cost:
        """A pair goes once through the backbone and through each RM that was trained on it, a layer at a time."""
        shape, config = self._shape, self._profile.activations
        work, seen = (
            Work(0, 0),
            dict.fromkeys(self._rows["statistics"], 0.0),
        )  # which share of a file's pairs is needed
        for model in models:
            sources = self._grid.pairs[model.objective].train
            parts = self._pairs("statistics", sources)
            rows = sum(part.rows for part in parts)
            share = min(1, (config.max_pairs or rows) / max(rows, 1))
            work += one_pass(parts, config.tokens_per_batch) * share
            for source in seen.keys() & {*sources}:
                seen[source] += (1 - seen[source]) * share  # samples are drawn apart
        for part, share in seen.items():
            work += one_pass([self._rows["statistics"][part]], config.tokens_per_batch) * share
        live = 1 + max(
            sum(part in self._grid.pairs[model.objective].train for model in models)
            for part in seen
        )
        size, width = 4 * shape.parameters, BYTES[config.precision]
        sums = len(models) * 2 * 4 * 8 * shape.neurons  # of two sides four sums, in float64
        return self._cost(
            "activations",
            trio.key,
            work,
            forward(shape, work),
            config.precision,
            # a layer's activations of all models; of one their differences, squares and absolute values
            memory=live * size + sums + work.largest * shape.mlp * (width * live + 4 * 6),
            host=2 * size,
            disk=sums,
            after=tuple(self._stage("train", model.key) for model in models),
        )

    def _evaluate(self, trio: Trio) -> Cost:
        """Every condition; one ablation keeps all output projections for their return."""
        shape, config = self._shape, self._profile.evaluate
        work, rewards = Work(0, 0), 0
        for objective in self._grid.objectives:
            for parts, conditions in self._scorings(objective):
                work += one_pass(parts, config.tokens_per_batch) * conditions
                rewards += sum(part.texts for part in parts) * conditions
        size, live = 4 * shape.parameters, self._kept / shape.layers
        return self._cost(
            "evaluate",
            trio.key,
            work,
            forward(shape, work),
            config.precision,
            memory=size + 4 * shape.neurons * shape.width + 4 * work.largest * live,
            host=size,
            disk=REWARD * rewards,
            after=(self._stage("activations", trio.key),),
        )

    def _pairs(self, one: Pass, sources: Iterable[str]) -> list[Lengths]:
        """Of a source of which caps or lengths leave no pair there are no rows."""
        rows = self._rows[one]
        return [rows[source] for source in sources if source in rows]

    def _scorings(self, objective: Objective) -> Iterator[tuple[list[Lengths], int]]:
        """The sets of rows that an RM scores, and under how many conditions."""
        config = self._profile.evaluate
        yield (
            self._pairs("test", self._grid.pairs[objective].test),
            len(list(hh_conditions(config))),
        )
        yield list(self._rows["benchmarks"].values()), len(list(task_conditions(config, objective)))
        if whole_only := list(self._rows["whole_only"].values()):
            yield whole_only, 1

    @property
    def _kept(self) -> int:
        """Numbers that autograd keeps for a token."""
        widths, mlps = KEPT[self._shape.family]
        return self._shape.layers * (widths * self._shape.width + mlps * self._shape.mlp)

    def _stage(self, stage: str, key: str) -> str:
        return self._grid.stage(stage, self._name, key)

    def _cost(
        self,
        stage: str,
        key: str,
        work: Work,
        flop: float,
        precision: Precision,
        *,
        memory: float,
        host: float,
        disk: float,
        after: tuple[str, ...] = (),
    ) -> Cost:
        """From bytes; without a GPU the machine holds what the GPU would, and a backbone is never on one."""
        gpu = self._speed.gpu and stage != "backbone"
        device = PROCESS + memory / GB
        return Cost(
            stage=self._stage(stage, key),
            backbone=self._key,
            seconds=START + flop / self._speed.flops(self._shape, precision),
            memory_gb=device if gpu or not self._speed.gpu else 0.0,
            host_gb=PROCESS + host / GB if gpu else device,
            disk_gb=disk / GB,
            tokens=round(work.tokens),
            flop=flop,
            after=after,
        )
