"""Compare a GPU with float64 on the CPU, and time the stages on it: real shapes, random weights.

Needs no hub and no network. Writes reports/gpu/NAME.json after each backbone. Exits with 1 if
anything is farther off than its precision explains. Meant to take under ten minutes on an H100.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.compare import Comparison, accelerator_for, comparers
from benchmarks.material import Material
from rm_tension.activations.stats import collect
from rm_tension.base.config import Precision, Profile, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import write_json
from rm_tension.cost import Shape
from rm_tension.evaluate.scoring import Scorer
from rm_tension.model.device import Compute, TokenBudget, find_device, is_out_of_memory
from rm_tension.model.rows import Item, collate
from rm_tension.train import training

PROFILE = "paper"  # whose settings are timed
REPEATS = 3
STEPS = 8  # of training, timed together
GB = 1e9


def check(device: torch.device, out: Path, tiny: bool, only: Sequence[str]) -> dict[str, Any]:
    """Check all backbones, smallest first, and write after each; `tiny` tries the check itself."""
    profile = load_params().profiles[PROFILE]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    result: dict[str, Any] = {
        "device": name,
        "kind": device.type,
        "versions": {package: version(package) for package in ("torch", "transformers")},
        "checks": [],
        "speeds": {},
    }
    begin = time.perf_counter()
    materials = {key: Material.of(profile, key, tiny) for key in only or profile.backbones}
    for key in sorted(materials, key=lambda key: materials[key].shape.parameters):
        result["checks"] += checked(key, materials[key], profile, device)
        result["speeds"][key] = {
            "shape": asdict(materials[key].shape),
            "stages": timed(key, materials[key], profile, device, 16 if tiny else 256),
        }
        result["seconds"] = round(time.perf_counter() - begin, 1)
        write_json(out / f"{name.replace(' ', '-')}.json", result)
    print(f"{out}/{name.replace(' ', '-')}.json, after {result['seconds']:.0f} seconds")
    return result


def checked(
    backbone: str, material: Material, profile: Profile, device: torch.device
) -> list[dict[str, Any]]:
    """Make all comparisons of a backbone; one that raises counts as too far off."""
    lines = []
    for name, compare in comparers(material, profile.train, device).items():
        try:
            comparisons, error = compare(), None
        except (RuntimeError, UserError) as raised:  # the next may still tell something
            comparisons, error = [Comparison(name, "any", float("inf"), 0.0)], str(raised)[:300]
        _free(device)
        for one in comparisons:
            lines.append(asdict(one) | {"backbone": backbone, "ok": one.ok, "error": error})
            verdict = "ok" if one.ok else f"TOO FAR (limit {one.limit:.0e}) {error or ''}"
            print(
                f"{backbone}: {one.what} in {one.precision}: {one.distance:.1e} {verdict}",
                flush=True,
            )
    return lines


def timed(
    backbone: str, material: Material, profile: Profile, device: torch.device, count: int
) -> dict[str, Any]:
    """Time each stage with the profile's settings, one at a time on the device."""
    pairs, items = material.pairs(count), material.benchmark_items(count // 4)
    stages: dict[str, Callable[[], dict[str, Any]]] = {
        "train": lambda: training_speed(material, profile, device, pairs),
        "activations": lambda: statistics_speed(material, profile, device, pairs),
        "evaluate": lambda: scoring_speed(material, profile, device, items),
    }
    speeds = {}
    for stage, run in stages.items():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        try:
            speed = run()
        except (RuntimeError, UserError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            print(f"{backbone}: {stage}: {str(error)[:200]}", flush=True)
            _free(device)
            continue
        cuda = device.type == "cuda"
        speed["peak_gb"] = torch.cuda.max_memory_allocated(device) / GB if cuda else None
        speeds[stage] = speed
        _free(device)
        shown = ", ".join(
            f"{key} {value:.4g}" for key, value in speed.items() if isinstance(value, float)
        )
        print(f"{backbone}: {stage} in {speed['precision']}: {shown}", flush=True)
    return speeds


def training_speed(
    material: Material, profile: Profile, device: torch.device, pairs: Sequence[Item]
) -> dict[str, Any]:
    """Time whole steps: forward, backward, clipping and AdamW."""
    config = profile.train
    accelerator = accelerator_for(Compute(device, config.precision))
    model = material.model(device, getattr(torch, config.weights)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, fused=True)
    budget, size = TokenBudget(config.tokens_per_micro_batch), config.pairs_per_step
    batches = [pairs[start : start + size] for start in range(0, len(pairs), size)][:STEPS]

    def steps() -> None:
        for batch in batches:
            budget.run(lambda tokens: training.backward(model, batch, accelerator, tokens))  # noqa: B023
            accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()

    items = [pair for batch in batches for pair in batch]
    return speed(material.shape, config.precision, items, 3, steps, device)


def statistics_speed(
    material: Material, profile: Profile, device: torch.device, pairs: Sequence[Item]
) -> dict[str, Any]:
    """Time the statistics of one reward model beside its backbone."""
    config, compute = profile.activations, Compute(device, profile.activations.precision)
    rm, base = (material.model(device, seed=seed).requires_grad_(False) for seed in (0, 1))
    budget = TokenBudget(config.tokens_per_batch)

    def run() -> None:
        collect({"rm": rm}, base, pairs, compute, budget, "")

    return speed(material.shape, compute.computes_in, pairs, 2, run, device)


def scoring_speed(
    material: Material, profile: Profile, device: torch.device, items: Sequence[Item]
) -> dict[str, Any]:
    """Time the scoring of benchmark items, which are laid out before."""
    config, compute = profile.evaluate, Compute(device, profile.evaluate.precision)
    model = material.model(device).requires_grad_(False)
    scorer = Scorer(items, TokenBudget(config.tokens_per_batch))

    def run() -> None:
        scorer.score(model, compute, "")

    return speed(material.shape, compute.computes_in, items, 1, run, device)


def speed(
    shape: Shape,
    precision: Precision,
    items: Sequence[Item],
    passes: int,
    run: Callable[[], None],
    device: torch.device,
) -> dict[str, Any]:
    """Return the median speed of `run`, which passes the items through a model `passes` times.

    `host_share` is the part of the time after which the host is done and waits for the GPU: near 1,
    launching kernels is what takes long.
    """
    run()  # kernels are chosen, memory is taken
    walls, hosts = [], []
    for _ in range(REPEATS):
        _wait(device)
        begin = time.perf_counter()
        run()
        hosts.append(time.perf_counter() - begin)
        _wait(device)
        walls.append(time.perf_counter() - begin)
    wall, spans = statistics.median(walls), collate(items).spans
    tokens = int(spans.own.sum())
    attended = float((spans.own * (spans.context + spans.own / 2)).sum())
    flop = 2 * passes * shape.layers * (shape.block * tokens + 2 * shape.width * attended)
    return {
        "precision": precision,
        "tokens_per_second": tokens / wall,
        "tflops": flop / wall / 1e12,
        "host_share": statistics.median(hosts) / wall,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _free(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main() -> None:
    """Run the check; exit with 1 if a comparison fails or a stage has no speed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--device", help="a torch device; default: the best there is")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, to try the check itself")
    parser.add_argument("--only", nargs="*", default=[], metavar="BACKBONE")
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"), help="folder of the file")
    arguments = parser.parse_args()
    device = find_device(arguments.device)
    result = check(device, arguments.out, arguments.tiny, arguments.only)
    if bad := [one for one in result["checks"] if not one["ok"]]:
        sys.exit(f"{len(bad)} of {len(result['checks'])} comparisons failed")
    if short := [key for key, one in result["speeds"].items() if len(one["stages"]) < 3]:
        sys.exit(f"not enough memory to time all stages of {', '.join(short)}")


if __name__ == "__main__":
    main()
