"""FLOP per second of devices: published ones by name (speeds.csv), those that were checked, or this machine's own."""

import json
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rm_tension.base.config import Precision
from rm_tension.base.errors import UserError
from rm_tension.estimate.shapes import Shape, config_of
from rm_tension.estimate.work import Work, forward

FILE = Path(__file__).with_name("speeds.csv")
CHECKED = Path("reports/gpu")  # what benchmarks/gpu_check.py measured
DEVICES = ("H100", "A100", "4090", "cpu")  # of speeds.csv
TYPICAL = "H100"  # whose share of the peak is also the others'
LENGTH = 256  # tokens of the rows that calibrate
PATIENCE = 0.5  # seconds of measuring a shape
PASS_FLOP = {False: 2e10, True: 2e13}  # of a pass that calibrates, on a CPU and on a GPU


@dataclass(frozen=True)
class Speed:
    """A device; `flops(shape, precision)` are FLOP/s in a forward pass, with a precision as params.yaml names it."""

    name: str
    gpu: bool
    flops: Callable[[Shape, Precision], float]


def known() -> list[str]:
    """The names that `named` takes."""
    return [*DEVICES, *sorted(path.stem for path in CHECKED.glob("*.json"))]


def named(device: str) -> Speed:
    """One of `known`; UserError for another."""
    if device not in known():
        raise UserError(f"no speed of {device}: there are {', '.join(known())}")
    return published(device) if device in DEVICES else _checked(CHECKED / f"{device}.json")


def _checked(path: Path) -> Speed:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rates: dict[tuple[Shape, str], list[float]] = {}
        for one in found["speeds"].values():
            for stage in one["stages"].values():
                rates.setdefault((Shape(**one["shape"]), stage["precision"]), []).append(
                    float(stage["tflops"])
                )
        name, gpu = str(found["device"]), str(found["kind"]) != "cpu"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not what `make gpu-check` writes ({error!r}); run it again"
        ) from error

    def flops(shape: Shape, precision: Precision) -> float:
        if (shape, precision) not in rates:
            raise UserError(
                f"{path}: no speed of {shape} in {precision}: run `make gpu-check` again"
            )
        return 1e12 * float(np.median(rates[shape, precision]))

    return Speed(f"{name}, as {path} measured it", gpu, flops)


def published(device: str) -> Speed:
    """One of DEVICES."""
    lines = pd.read_csv(FILE, comment="#").fillna(0.0).to_dict("records")
    rows: dict[tuple[str, str], dict[Hashable, Any]] = {
        (row["device"], row["precision"]): row for row in lines
    }
    rates = {}  # TFLOP/s by precision
    for precision, row in (
        (precision, row) for (one, precision), row in rows.items() if one == device
    ):
        share = rows[TYPICAL, precision]["achieved"] / rows[TYPICAL, precision]["peak"]
        rates[precision] = row["achieved"] or row["peak"] * share

    def flops(shape: Shape, precision: Precision) -> float:
        if precision not in rates:
            raise UserError(f"{FILE}: no speed of {device} in {precision}: add a line")
        return 1e12 * float(rates[precision])

    shown = ", ".join(f"{rate:.3g} {precision}" for precision, rate in rates.items())
    return Speed(f"{device} at {shown} TFLOP/s", device != "cpu", flops)


def calibrated() -> Speed:
    """The device that the stages would run on: each shape that is asked for is measured, once, in about a second."""
    import torch

    gpu = torch.cuda.is_available()
    name = (
        torch.cuda.get_device_name()
        if gpu
        else f"this machine's CPU, {torch.get_num_threads()} threads"
    )
    return Speed(f"{name}, calibrated with a block of each shape", gpu, cache(_measure))


def _measure(shape: Shape, precision: Precision) -> float:
    """FLOP/s of the fastest of some forward passes through one block of random weights."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from rm_tension.model import attention
    from rm_tension.model.device import Place, find_device
    from rm_tension.model.reward_model import rewards
    from rm_tension.model.rows import collate

    block = replace(shape, layers=1, vocabulary=LENGTH, positions=LENGTH)
    place = Place(find_device(), precision)
    model = AutoModelForSequenceClassification.from_config(
        config_of(block), attn_implementation=attention.NAME
    )
    model = model.to(place.device).eval()
    one = forward(block, Work(LENGTH, LENGTH**2 / 2))
    count = int(np.clip(PASS_FLOP[place.device.type != "cpu"] // one, 1, 16384 // LENGTH))
    rows = collate([(np.zeros(LENGTH, dtype=np.int32),)] * count).to(place.device)
    times: list[float] = []
    while len(times) < 2 or sum(times) < PATIENCE:
        start = time.perf_counter()
        with torch.inference_mode(), place.computing():
            rewards(model, rows).cpu()  # which waits for the device
        times.append(time.perf_counter() - start)
    return count * one / min(times)
