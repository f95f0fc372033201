"""Compare a GPU with the CPU, path by path, and measure the stages on it: models of the real shapes, random weights.

Needs no hub and no network. Writes reports/gpu/NAME.json.
Exits 1 if anything is farther from the CPU than its precision explains.
"""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from benchmarks.shared import Texts
from rm_tension.activations.stats import collect
from rm_tension.backbone.neurons import ablated, neuron_shape
from rm_tension.base.config import Precision, load_params
from rm_tension.base.files import write_json
from rm_tension.calibration import config_of
from rm_tension.cost import Shape, shape_of
from rm_tension.evaluate.scoring import Scorer
from rm_tension.model import attention
from rm_tension.model.device import Budget, Place, find_device, make_accelerator
from rm_tension.model.rows import Item, collate
from rm_tension.train.training import Pairs, backward, train

# How far from float32 on the CPU, relative to the size of what is compared
LIMITS: dict[Precision, float] = {"float32": 1e-4, "tf32": 3e-2, "bfloat16": 2e-1}
PROFILE = "paper"  # whose settings are measured
CPU = Place(torch.device("cpu"), "float32")


def make_model(
    shape: Shape, device: torch.device, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """The same weights on every device."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(
        config_of(shape), attn_implementation=attention.NAME
    )
    return model.to(device, dtype)


def far(found: Any, expected: Any) -> float:
    """The largest difference, relative to the largest number."""
    one, other = (np.asarray(torch.as_tensor(x).detach().cpu().float()) for x in (found, expected))
    return float(np.abs(one - other).max() / np.abs(other).max())


def differences(
    shape: Shape, items: Sequence[Item], device: torch.device
) -> Iterator[tuple[str, Precision, float]]:
    """What is compared, in which precision, and how far it is from the CPU's."""
    models = {
        place.device: make_model(shape, place.device).eval()
        for place in (CPU, Place(device, "float32"))
    }
    mask = np.random.default_rng(0).random(neuron_shape(models[CPU.device])) < 0.1

    def score(place: Place) -> Any:
        return Scorer(items, Budget(4096)).score(models[place.device], place, "")

    def score_ablated(place: Place) -> Any:
        with ablated(models[place.device], mask):
            return score(place)

    def sums(place: Place) -> Any:
        model = models[place.device]
        found = collect(
            {"rm": model}, model, [item[:2] for item in items], place, Budget(4096), ""
        )["rm"]
        return np.stack([found.chosen.sum, found.rejected.abs_sum])

    for name, compute in (
        ("rewards", score),
        ("rewards, ablated", score_ablated),
        ("statistics", sums),
    ):
        expected = compute(CPU)
        for precision in get_args(Precision):
            yield name, precision, far(compute(Place(device, precision)), expected)
    pairs = [item[:2] for item in items]
    expected = gradient(models[CPU.device], pairs, "float32", cpu=True)
    for precision in get_args(Precision):
        yield "gradient", precision, far(gradient(models[device], pairs, precision), expected)


def gradient(
    model: PreTrainedModel, pairs: Sequence[Item], precision: Precision, cpu: bool = False
) -> Tensor:
    """Of a training step, all parameters in one vector."""
    accelerator = accelerator_for(precision, cpu=cpu)
    backward(model.train(), pairs, accelerator, 4096)
    return torch.cat(
        [one.grad.flatten().float() for one in model.parameters() if one.grad is not None]
    )


def accelerator_for(precision: Precision, cpu: bool = False) -> Any:
    """A new one: a process is meant to have but one kind."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = make_accelerator(precision)
    if cpu:
        accelerator.state.device = CPU.device
    return accelerator


def resumed(shape: Shape, items: Sequence[Item], device: torch.device) -> float:
    """How far the weights of a training that was stopped are from those of one that was not."""
    config = (
        load_params()
        .profiles[PROFILE]
        .train.model_copy(update={"pairs_per_step": 4, "save_every_minutes": 0})
    )
    pairs = Pairs([str(number) for number in range(len(items))], [item[:2] for item in items])

    def run(state: Path, stop_after: int | None) -> Tensor:
        model = make_model(shape, device, getattr(torch, config.weights))

        def on_step(metrics: Any) -> None:
            if metrics["step"] + 1 == stop_after:
                signal.raise_signal(signal.SIGTERM)

        accelerator = accelerator_for(config.precision)
        settings = {
            "epochs": 1,
            "seed": 0,
            "accelerator": accelerator,
            "budget": Budget(4096),
            "progress": "check",
        }
        train(model, pairs, config, state=state, on_step=on_step, **settings)
        return torch.cat([one.detach().flatten().float() for one in model.parameters()])

    with TemporaryDirectory() as folder:
        whole = run(Path(folder, "whole"), None)
        with contextlib.suppress(SystemExit):  # saved, as by a scheduler's signal
            run(Path(folder, "state"), 2)
        return far(run(Path(folder, "state"), None), whole)


def speeds(
    shape: Shape, pairs: Sequence[Item], items: Sequence[Item], device: torch.device
) -> dict[str, Any]:
    """Tokens, FLOP and peak memory of a training step, statistics and scoring, by the paper's settings."""
    settings = load_params().profiles[PROFILE]
    weights = getattr(torch, settings.train.weights)
    one, other = (make_model(shape, device).eval() for _ in range(2))
    step = pairs[: settings.train.pairs_per_step]
    place = Place(device, settings.activations.precision)
    scoring = Place(device, settings.evaluate.precision)
    scorer = Scorer(items, Budget(settings.evaluate.tokens_per_batch))
    budget = Budget(settings.activations.tokens_per_batch)
    trained = make_model(shape, device, weights).train()
    accelerator = accelerator_for(settings.train.precision)
    stages: dict[str, tuple[Precision, float, Sequence[Item], Callable[[], object]]] = {
        "train": (
            settings.train.precision,
            3,
            step,
            lambda: backward(trained, step, accelerator, settings.train.tokens_per_micro_batch),
        ),
        "activations": (
            place.computes_in,
            2,
            pairs,
            lambda: collect({"rm": one}, other, pairs, place, budget, ""),
        ),
        "evaluate": (scoring.computes_in, 1, items, lambda: scorer.score(one, scoring, "")),
    }
    found = {}
    for stage, (precision, passes, used, run) in stages.items():
        run()  # kernels are chosen, memory is taken
        tokens, attended = work_of(used)
        flop = 2 * shape.layers * (shape.block * tokens + 2 * shape.width * attended) * passes
        seconds = min(timed(run, device) for _ in range(3))
        peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
        found[stage] = {
            "precision": precision,
            "tokens_per_second": round(tokens / seconds, 1),
            "tflops": flop / seconds / 1e12,
            "peak_gb": peak,
        }
    return found


def work_of(items: Sequence[Item]) -> tuple[float, float]:
    """Return the tokens of the items' rows, and of all spans the pairs of tokens that see each other."""
    spans = collate(items).spans
    return float(spans.own.sum()), float((spans.own * (spans.context + spans.own / 2)).sum())


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds, with all that the device still computes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def check(device: torch.device, small: bool) -> dict[str, Any]:
    """All shapes; prints as it goes. `small` is a try on shapes of no use."""
    params = load_params()
    settings = params.profiles[PROFILE]
    result: dict[str, Any] = {
        "device": describe(device),
        "kind": device.type,
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }
    result |= {"checks": [], "speeds": {}}
    for backbone in settings.backbones:
        shape = shape_of(settings, backbone)
        tokenizer = settings.tokens.tokenizers[settings.backbones[backbone].tokenizer]
        if small:
            shape = replace(
                shape,
                layers=2,
                width=64,
                mlp=96,
                heads=4,
                key_heads=4 if shape.key_heads == shape.heads else 2,
                vocabulary=97,
            )
        few = replace(shape, layers=2)
        texts = Texts(tokenizer.repo, shape.vocabulary, np.random.default_rng(0))
        count = 16 if small else 256
        pairs, items = texts.hh_pairs(count), texts.benchmark_items(count)
        compared = [
            *differences(few, [*pairs[:6], *items[:4]], device),
            ("training, stopped and resumed", "bfloat16", resumed(few, pairs[:16], device)),
        ]
        for name, precision, distance in compared:
            good = distance <= LIMITS[precision]
            print(
                f"{backbone}: {name} in {precision}: {distance:.1e} {'ok' if good else 'TOO FAR'}",
                flush=True,
            )
            result["checks"].append(
                {
                    "backbone": backbone,
                    "what": name,
                    "precision": precision,
                    "distance": distance,
                    "ok": good,
                }
            )
        result["speeds"][backbone] = {
            "shape": asdict(shape),
            "stages": speeds(shape, pairs, items, device),
        }
        for stage, one in result["speeds"][backbone]["stages"].items():
            speed = f"{one['tokens_per_second']:,} tokens/s, {one['tflops']:.3g} TFLOP/s"
            print(
                f"{backbone}: {stage} in {one['precision']}: {speed}, peak {one['peak_gb'] or '?'} GB",
                flush=True,
            )
    return result


def describe(device: torch.device) -> str:
    """Its name, for a file's, too."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}"


def main() -> None:
    """Exits 1 if a check fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--device", help="a torch device; default: the best there is")
    parser.add_argument(
        "--small", action="store_true", help="shapes of no use, to try the check itself"
    )
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"), help="folder of the file")
    arguments = parser.parse_args()
    device = find_device(arguments.device)
    result = check(device, arguments.small)
    file = arguments.out / f"{result['device'].replace(' ', '-')}.json"
    write_json(file, result)
    print(file)
    if bad := [one for one in result["checks"] if not one["ok"]]:
        sys.exit(f"{len(bad)} of {len(result['checks'])} checks failed")


if __name__ == "__main__":
    main()
