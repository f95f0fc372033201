"""What `make gpu-check` compares is within its limits, and faults are not.

The CPU always, and CUDA under `TEST_GPU=1 pytest -m gpu`, which `make gpu-check` runs.
"""

import json
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import compare, gpu_check
from benchmarks.material import Material
from rm_tension.activations import stats
from rm_tension.backbone import neurons
from rm_tension.base.config import load_params
from rm_tension.launch.worker import PRELOADED
from rm_tension.model import attention
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.rows import Rows
from rm_tension.train import state, training

pytestmark = pytest.mark.slow

PAPER = load_params().profiles["paper"]
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")],
    ),
]
COMPARERS = ("kernels", "models", "resume")


def compared(backbone, comparer, device="cpu"):
    material = Material.of(PAPER, backbone, tiny=True)
    return compare.comparers(material, PAPER.train, torch.device(device))[comparer]()


@pytest.fixture(autouse=True)
def _accelerator_for_others():
    """Other tests of this process expect an accelerator of float32."""
    yield
    compare.accelerator_for(Compute(torch.device("cpu"), "float32"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backbone", ["gpt2-small", "smollm2-135m"])
@pytest.mark.parametrize("comparer", COMPARERS)
def test_all_results_are_within_their_limits(backbone, comparer, device):
    comparisons = compared(backbone, comparer, device)
    assert [one for one in comparisons if not one.ok] == []
    if comparer == "models":
        whats = {one.what for one in comparisons if one.precision == "bfloat16"}
        assert {what.split(",")[0] for what in whats} == {"rewards", "statistics", "gradient"}
        assert "bfloat16 weights" in {one.precision for one in comparisons}


def kernel(shift=0, scale=1.0, top_left=False, other_prefix=False):
    """Attention with a fault."""

    def faulty(query, key, value, spans, scaling):
        key, value = (x.repeat_interleave(len(query) // len(x), dim=0) for x in (key, value))
        start = spans.start * (0 if other_prefix else 1)
        outputs, begin = [], 0
        for first, context, own in zip(start, spans.context, spans.own, strict=True):
            places = [*range(first, first + context), *range(begin, begin + own)]
            scores = query[:, begin : begin + own] @ key[:, places].mT * scaling * scale
            diagonal = shift + (0 if top_left else context)
            seen = torch.ones(own, context + own, dtype=torch.bool).tril(diagonal)
            seen[:, 0] = True  # or the first token would see nothing
            weights = scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)
            outputs.append(weights @ value[:, places])
            begin += own
        return torch.cat(outputs, dim=1)

    return faulty


KERNELS = {
    "sees one token ahead": kernel(shift=1),
    "does not see itself": kernel(shift=-1),
    "scale": kernel(scale=1.2),
    "mask aligned at the top left": kernel(top_left=True),
    "prefix of another row": kernel(other_prefix=True),
}


@pytest.mark.parametrize("fault", KERNELS)
def test_a_faulty_kernel_is_seen_in_every_precision(fault, monkeypatch):
    monkeypatch.setattr(attention, "span_by_span", KERNELS[fault])
    bad = {one.precision for one in compared("smollm2-135m", "kernels") if not one.ok}
    assert bad == {"bfloat16", "float32"}


def changed_sums(**sums):
    """Statistics of which each side has a sum in the place of another, or zeros."""
    collect = stats.collect

    def faulty(*arguments):
        found = collect(*arguments)["rm"]
        sides = []
        for side in found.sides:
            zeros = 0 * side.sum
            changes = {name: getattr(side, other, zeros) for name, other in sums.items()}
            sides.append(replace(side, **changes))
        return {"rm": type(found)(*sides)}

    return faulty


def restored(*, model=True, optimizer=True, steps=0):
    """What a state brings back, less what is left out."""
    load = state.load

    def faulty(path, key, into_model, into_optimizer):
        weights = {name: x.clone() for name, x in into_model.state_dict().items()}
        history = load(path, key, into_model, into_optimizer)
        if history and not model:
            into_model.load_state_dict(weights)
        if history and not optimizer:
            into_optimizer.state.clear()
        return history[: len(history) + steps]

    return faulty


def half_summed(self, text):
    """Tokens of a text without those of the shared prefix."""
    return self.segments == text + 1


def twice(margin):
    return 2 * torch.nn.functional.softplus(-margin)


NO_CHANGE = changed_sums(change_square_sum="zeros")
FAULTS = {
    "the backbone's sum is the model's": (
        stats, "collect", changed_sums(backbone_sum="sum"), "statistics, backbone_sum"
    ),
    "no change": (stats, "collect", NO_CHANGE, "statistics, change_square_sum"),
    "|a| without its sign": (stats, "collect", changed_sums(abs_sum="sum"), "statistics, abs_sum"),
    "prefixes left out": (Rows, "belongs_to", half_summed, "statistics, sum"),
    "no ablation": (
        neurons, "ablated", lambda *_: nullcontext(), "rewards, effect of an ablation"
    ),
    "loss twice": (training, "bradley_terry", twice, "gradient"),
    "resumed with nothing": (
        state, "load", restored(model=False, optimizer=False), "resumed training"
    ),
    "resumed with old weights": (state, "load", restored(model=False), "resumed training"),
    "resumed without moments": (state, "load", restored(optimizer=False), "resumed training"),
    "resumed with a step twice": (state, "load", restored(steps=-1), "resumed, deterministic"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_path_is_seen(fault, monkeypatch):
    place, name, faulty, what = FAULTS[fault]
    monkeypatch.setattr(place, name, faulty)
    comparer = "resume" if what.startswith("resumed") else "models"
    assert what in {one.what for one in compared("gpt2-small", comparer) if not one.ok}


def test_each_backbone_is_written_with_its_speeds_before_the_next(tmp_path, monkeypatch):
    checked = gpu_check.checked

    def interrupted(backbone, *arguments):
        if backbone == "gpt2-small":
            raise KeyboardInterrupt
        return checked(backbone, *arguments)

    monkeypatch.setattr(gpu_check, "checked", interrupted)
    only = ["gpt2-small", "smollm2-135m"]
    with pytest.raises(KeyboardInterrupt):
        gpu_check.check(torch.device("cpu"), tmp_path, tiny=True, only=only)
    found = json.loads((tmp_path / "cpu.json").read_text(encoding="utf-8"))
    assert all(one["ok"] for one in found["checks"])
    stages = found["speeds"].pop("smollm2-135m")["stages"]
    assert not found["speeds"]
    assert {stage: one["precision"] for stage, one in stages.items()} == {
        "train": "bfloat16", "activations": "float32", "evaluate": "float32",
    }  # fmt: skip
    assert all(one["tokens_per_second"] > 0 for one in stages.values())


def test_a_kernel_that_raises_fails_the_check_and_the_next_goes_on(monkeypatch):
    message = "CUDA error: an illegal instruction was encountered"

    def broken(*_):
        raise RuntimeError(message)

    monkeypatch.setattr(attention, "padded", broken)
    material = Material.of(PAPER, "gpt2-small", tiny=True)
    checks = gpu_check.checked("gpt2-small", material, PAPER, torch.device("cpu"))
    bad = [one for one in checks if not one["ok"]]
    assert [(one["what"], one["error"]) for one in bad] == [("kernels", message)]
    assert len(checks) > 10


def write_gradient(device, path):
    """In a process of its own: the gradient and the rewards of some pairs, after one pass."""
    material, compute = Material.of(PAPER, "gpt2-small", tiny=True), Compute(device, "float32")
    model, pairs = material.model(device, torch.float32).train(), material.pairs(8)
    with compare.deterministic(True):
        margins = training.backward(model, pairs, compare.accelerator_for(compute), 4096)
    tensors = {name: weight.grad.cpu() for name, weight in model.named_parameters()}
    save_file(tensors | {"margins": margins.cpu()}, path)


@pytest.mark.parametrize("device", DEVICES)
def test_processes_forked_as_the_launchers_are_compute_the_same_bits(device, tmp_path):
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    paths = [tmp_path / name for name in ("first", "second")]
    processes = [
        context.Process(target=write_gradient, args=(torch.device(device), path)) for path in paths
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    write_gradient(torch.device(device), tmp_path / "own")
    first, second, own = (load_file(path) for path in (*paths, tmp_path / "own"))
    assert float(first["score.weight"].norm()) > 0
    for other in (second, own):
        assert [name for name in first if not torch.equal(first[name], other[name])] == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_batch_that_memory_does_not_suffice_for_is_halved():
    device = torch.device("cuda")
    material = Material.of(PAPER, "smollm2-360m")
    model, pairs = material.model(device, torch.bfloat16).train(), material.pairs(64)
    accelerator = compare.accelerator_for(Compute(device, "bfloat16"))
    expected = training.backward(model, pairs, accelerator, 4096)
    torch.cuda.empty_cache()
    fill = torch.empty(torch.cuda.mem_get_info()[0] - 10**10, dtype=torch.uint8, device=device)
    budget = TokenBudget(8192)
    margins = budget.run(lambda tokens: training.backward(model, pairs, accelerator, tokens))
    del fill
    assert budget.tokens == 4096
    assert float((margins - expected).norm() / expected.norm()) < 5e-2
