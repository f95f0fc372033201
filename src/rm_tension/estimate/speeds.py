"""FLOP per second of devices: published and measured ones by name (speeds.csv), or this machine's own."""

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
from rm_tension.estimate.shapes import Shape
from rm_tension.estimate.work import Work, forward

FILE = Path(__file__).with_name("speeds.csv")
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


def published(device: str) -> Speed:
    """One of DEVICES."""
    lines = pd.read_csv(FILE, comment="#").fillna(0.0).to_dict("records")
    rows: dict[tuple[str, str], dict[Hashable, Any]] = {(row["device"], row["precision"]): row for row in lines}
    rates = {}  # TFLOP/s by precision
    for precision, row in ((precision, row) for (one, precision), row in rows.items() if one == device):
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
    name = torch.cuda.get_device_name() if gpu else f"this machine's CPU, {torch.get_num_threads()} threads"
    return Speed(f"{name}, calibrated with a block of each shape", gpu, cache(_measure))


def _measure(shape: Shape, precision: Precision) -> float:
    """FLOP/s of the fastest of some forward passes through one block of random weights."""
    import torch
    from transformers import AutoModelForSequenceClassification, GPT2Config, LlamaConfig

    from rm_tension.model import attention
    from rm_tension.model.device import Place, find_device
    from rm_tension.model.reward_model import rewards
    from rm_tension.model.rows import collate

    common = {"num_labels": 1, "vocab_size": LENGTH, "num_hidden_layers": 1, "pad_token_id": 0}
    sizes = {"hidden_size": shape.width, "num_attention_heads": shape.heads}
    if shape.family == "gpt2":
        config = GPT2Config(**common, **sizes, n_inner=shape.mlp, bos_token_id=0, eos_token_id=0)
    else:
        config = LlamaConfig(**common, **sizes, intermediate_size=shape.mlp, num_key_value_heads=shape.key_heads)
    place = Place(find_device(), precision)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention.NAME)
    model = model.to(place.device).eval()
    block = replace(shape, layers=1)
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
