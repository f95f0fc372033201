"""What an interrupted training resumes from: a file with weights, AdamW's moments and metrics.

Data order and learning rate follow from the step, and there is no dropout: no other state exists.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rm_tension.base.files import atomic_write
from rm_tension.model.rows import Item

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def fingerprint(model: nn.Module, items: Sequence[Item], settings: Any) -> str:
    """Return a digest of all that decides the trained weights, the code too.

    `settings` is JSON of whatever else decides them. A state with another digest is of another run.
    """
    digest = hashlib.blake2b(json.dumps([_code(), settings]).encode(), digest_size=16)
    for item in items:
        for text in item:
            digest.update(text.tobytes())
    for name, weight in model.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save(
    path: Path,
    key: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: Sequence[dict[str, Any]],
) -> None:
    """Write the state after `len(history)` steps; a kill leaves the state before it."""
    tensors = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"{name}.{index}": moments[name] for name in MOMENTS}
    with atomic_write(path) as partial:
        save_file(tensors, partial, metadata={"fingerprint": key, "history": json.dumps(history)})


def load(
    path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer
) -> list[dict[str, Any]]:
    """Put the state back into model and optimizer and return its metrics, [] if there is none."""
    if not path.exists():
        return []
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        print(f"{path}: {error}: starting from step 0")
        return []
    if metadata.get("fingerprint") != key:
        print(f"{path}: of other code, data, weights or settings: starting from step 0")
        return []
    model.load_state_dict({name: tensors[f"model.{name}"] for name in model.state_dict()})
    groups = optimizer.state_dict()["param_groups"]
    moments = {}
    for group in groups:
        for index in group["params"]:
            moments[index] = {name: tensors[f"{name}.{index}"] for name in MOMENTS}
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    history: list[dict[str, Any]] = json.loads(metadata["history"])
    print(f"{path}: resuming after step {len(history)}")
    return history


def _code() -> str:
    """Return a digest of the sources that decide what a step computes."""
    digest = hashlib.blake2b(digest_size=16)
    package = Path(__file__).parents[1]
    for folder in ("model", "train"):
        for source in sorted((package / folder).rglob("*.py")):
            digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()
