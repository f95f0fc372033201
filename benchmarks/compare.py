"""How far a device's results are from float64, computed on the CPU in the plainest way.

The reference has nothing of ours but `on_activations`: each text alone, through transformers' own
attention. Distances are L2, relative to the reference. Limits lie between what rounding explains
and what faults do: a wrong mask or scale is at 0.1 and more.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args
from unittest.mock import patch

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks.material import Material
from rm_tension.activations import stats
from rm_tension.backbone import neurons
from rm_tension.base.config import Precision, TrainConfig
from rm_tension.evaluate.scoring import Scorer
from rm_tension.model import attention
from rm_tension.model.device import Compute, TokenBudget, make_accelerator
from rm_tension.model.rows import Item, collate
from rm_tension.train import training

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for deterministic products

KERNEL_LIMITS = {torch.bfloat16: 1e-2, torch.float32: 1e-5}
MODEL_LIMITS: Mapping[Precision, float] = {"float32": 5e-3, "tf32": 5e-3, "bfloat16": 5e-2}
RESUME_LIMIT = 5e-2  # of the distance that a training moves the weights
TOKENS = 4096  # that go through a model together
Numbers = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Comparison:
    """One distance and its limit; a distance that is no number is too far."""

    what: str
    precision: str
    distance: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the distance is within the limit."""
        return self.distance <= self.limit


def kernels(material: Material, items: Sequence[Item], device: torch.device) -> list[Comparison]:
    """Compare the kernels that models use on the device, and the padded one, with float64."""
    shape, spans = material.shape, collate(items).spans
    sizes = shape.heads, shape.key_heads, shape.width // shape.heads
    comparisons = []
    for dtype, limit in KERNEL_LIMITS.items():
        chosen = [attention.kernel_for(device, dtype)]
        if dtype == torch.float32 and attention.padded not in chosen:
            chosen.append(attention.padded)
        for kernel in chosen:
            found = attention.distances(kernel, device, dtype, *sizes, spans)
            name, precision = getattr(kernel, "__name__", "kernel"), str(dtype).split(".")[1]
            for result, distance in zip(("out", "dq", "dk", "dv"), found, strict=True):
                comparisons.append(Comparison(f"{name}, {result}", precision, distance, limit))
    return comparisons


def models(material: Material, items: Sequence[Item], device: torch.device) -> list[Comparison]:
    """Compare rewards, ablated rewards, statistics and gradients in every precision."""
    cpu = torch.device("cpu")
    base, rm = material.model(cpu, seed=0), material.model(cpu, seed=1)
    mask = np.random.default_rng(0).random(neurons.neuron_shape(rm)) < 0.3
    exact = reference(deepcopy(rm).double(), deepcopy(base).double(), items, mask)
    base, rm = base.to(device), rm.to(device)
    comparisons = []
    for precision in get_args(Precision):
        found = computed(rm, base, items, mask, Compute(device, precision))
        comparisons += _compared(found, exact, precision, precision)
    # `paper` trains bfloat16 weights, which take other kernels than autocast alone
    weights = "bfloat16 weights"
    found = {"gradient": gradient(rm.to(torch.bfloat16), items, Compute(device, "bfloat16"))}
    return [*comparisons, *_compared(found, exact, "bfloat16", weights)]


def _compared(
    found: Numbers, exact: Numbers, precision: Precision, name: str
) -> Iterator[Comparison]:
    for what, numbers in found.items():
        expected = exact[what]
        distance = float(np.linalg.norm(numbers - expected) / np.linalg.norm(expected))
        yield Comparison(what, name, distance, MODEL_LIMITS[precision])


def computed(
    rm: PreTrainedModel,
    base: PreTrainedModel,
    items: Sequence[Item],
    mask: NDArray[np.bool_],
    compute: Compute,
) -> Numbers:
    """Return what the stages compute of a reward model and its backbone, by our code."""
    scorer = Scorer(items, TokenBudget(TOKENS))
    whole = scorer.score(rm, compute, "").astype(np.float64)
    with neurons.ablated(rm, mask):
        ablated = scorer.score(rm, compute, "").astype(np.float64)
    pairs = [item[:2] for item in items]
    sums = stats.collect({"rm": rm}, base, pairs, compute, TokenBudget(TOKENS), "")["rm"]
    statistics = {
        f"statistics, {name}": np.stack([getattr(side, name) for side in sums.sides])
        for name in (*stats.OWN_SUMS, "backbone_sum")
    }
    effect = {"rewards": whole, "rewards, effect of an ablation": ablated - whole}
    return effect | statistics | {"gradient": gradient(rm, items, compute)}


def gradient(
    model: PreTrainedModel, items: Sequence[Item], compute: Compute
) -> NDArray[np.float64]:
    """Return the gradient of a training step, all parameters in one vector."""
    accelerator = accelerator_for(compute)
    pairs = [item[:2] for item in items]
    model.requires_grad_(True).train()
    TokenBudget(TOKENS).run(lambda tokens: training.backward(model, pairs, accelerator, tokens))
    vector = _flat(parameter.grad for parameter in model.parameters())
    model.zero_grad()
    model.requires_grad_(False).eval()
    return vector.cpu().double().numpy()


def reference(
    rm: PreTrainedModel, base: PreTrainedModel, items: Sequence[Item], mask: NDArray[np.bool_]
) -> Numbers:
    """Return the same numbers as `computed`, text by text, in the models' own precision."""
    texts = [torch.from_numpy(text).long()[None] for item in items for text in item]
    kept = torch.from_numpy(~mask)

    def reward(text: Tensor) -> Tensor:
        hidden = rm.base_model(input_ids=text).last_hidden_state
        return rm.score(hidden[0, -1]).squeeze()

    with torch.no_grad():
        whole = torch.stack([reward(text) for text in texts])
        with neurons.on_activations(rm, lambda layer, a: a * kept[layer]):
            ablated = torch.stack([reward(text) for text in texts])
    pairs = [[torch.from_numpy(text).long()[None] for text in item[:2]] for item in items]
    loss = sum((-_log_sigmoid(reward(a) - reward(b)) for a, b in pairs), torch.zeros(()))
    (loss / len(pairs)).backward()
    gradient = _flat(parameter.grad for parameter in rm.parameters())
    sides = [plain_sums(rm, base, [pair[side] for pair in pairs]) for side in (0, 1)]
    names = (*stats.OWN_SUMS, "backbone_sum")
    statistics = {
        f"statistics, {name}": torch.stack([side[number] for side in sides]).numpy()
        for number, name in enumerate(names)
    }
    effect = {"rewards": whole, "rewards, effect of an ablation": ablated - whole}
    return (
        {name: tensor.numpy() for name, tensor in effect.items()}
        | statistics
        | {"gradient": gradient.numpy()}
    )


def plain_sums(rm: PreTrainedModel, base: PreTrainedModel, texts: Sequence[Tensor]) -> Tensor:
    """Return sums of a, |a|, (a - b)^2, products and b over all tokens: [5, layers, neurons].

    Each text [1, tokens] goes through the models alone.
    """
    sums = torch.zeros(5, *neurons.neuron_shape(rm), dtype=torch.float64)
    for text in texts:
        seen: list[list[Tensor]] = []
        for model in (base, rm):
            layers: list[Tensor] = []
            products: list[Tensor] = []
            with (
                torch.no_grad(),
                neurons.on_activations(model, lambda _, a, to=layers: to.append(a[0])),  # type: ignore[misc]
                neurons.on_products(model, lambda p, to=products: to.append(p[0])),  # type: ignore[misc]
            ):
                model.base_model(input_ids=text)
            seen.append(layers)
        for layer, (b, a, product) in enumerate(zip(*seen, products, strict=True)):
            terms = (a, a.abs(), (a - b).square(), product, b)
            sums[:, layer] += torch.stack([term.sum(dim=0) for term in terms])
    return sums


def resumed(
    material: Material, items: Sequence[Item], config: TrainConfig, device: torch.device
) -> list[Comparison]:
    """Compare a training that was stopped and resumed with one that was not.

    The distance is a share of the distance that the training moves the weights. With deterministic
    algorithms it must be 0.
    """
    changes = {"pairs_per_step": 4, "save_every_minutes": 1e6, "learning_rate": 1e-3}
    config = config.model_copy(update=changes)
    pairs = training.Pairs([str(n) for n in range(len(items))], [item[:2] for item in items])

    def run(state: Path, stop_after: int | None) -> Tensor:
        model = material.model(device, getattr(torch, config.weights))

        def on_step(metrics: Mapping[str, float]) -> None:
            if metrics["step"] + 1 == stop_after:  # as a scheduler ends it
                signal.raise_signal(signal.SIGTERM)

        # each step is heard of at once, or a fast device is done before it is stopped
        at_once = patch.object(training, "FETCH_SECONDS", 0.0)
        with at_once, contextlib.suppress(SystemExit):
            training.train(
                model,
                pairs,
                config,
                epochs=2,
                seed=0,
                accelerator=accelerator_for(Compute(device, config.precision)),
                budget=TokenBudget(TOKENS),
                state=state,
                progress="check",
                on_step=on_step,
            )
        return _flat(model.parameters())

    comparisons = []
    before = _flat(material.model(device, getattr(torch, config.weights)).parameters())
    for name, limit in (("resumed training", RESUME_LIMIT), ("resumed, deterministic", 0.0)):
        with TemporaryDirectory() as folder, deterministic(limit == 0):
            unbroken = run(Path(folder, "unbroken"), None)
            run(Path(folder, "broken"), len(pairs.ids) // 4)
            distance = float((run(Path(folder, "broken"), None) - unbroken).norm())
            moved = float((unbroken - before).norm())
        comparisons.append(Comparison(name, config.precision, distance / moved, limit))
    return comparisons


@contextlib.contextmanager
def deterministic(enabled: bool) -> Iterator[None]:
    """Have torch use deterministic algorithms, or not, within the `with` block."""
    # no warn_only, with which attention's backward passes stay as they are
    torch.use_deterministic_algorithms(enabled)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def accelerator_for(compute: Compute) -> Accelerator:
    """Return a new accelerator, though accelerate means a process to have but one kind."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return make_accelerator(compute.precision, compute.device)


def _log_sigmoid(margin: Tensor) -> Tensor:
    return -torch.log1p(torch.exp(-margin))


def _flat(tensors: Iterator[Tensor | None]) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors if t is not None]).float()


Comparer = Callable[[], list[Comparison]]


def comparers(material: Material, config: TrainConfig, device: torch.device) -> dict[str, Comparer]:
    """Return all comparisons of a backbone's shape, cut to two blocks, by name."""
    few = material.with_layers(2)
    items = [*few.pairs(6), *few.benchmark_items(4)]
    return {
        "kernels": lambda: kernels(few, items, device),
        "models": lambda: models(few, items, device),
        "resume": lambda: resumed(few, few.pairs(16), config, device),
    }
