"""Results of one dissection that are kept, so that an interrupted one goes on where it was."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_tension.activations.sums import Activations, load_activations, save_activations
from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write
from rm_tension.base.hub import sha256_of


class Parts:
    """Files of a folder, all computed from the same inputs.

    `inputs` is what decides them, as JSON holds it; of other inputs than the folder's, the folder
    loses its parts. `reused` is how many were there.
    """

    def __init__(self, folder: Path, inputs: Mapping[str, Any]) -> None:
        self._folder = folder
        record = folder / "inputs.json"
        text = json.dumps(inputs, indent=2).encode()  # in order: rewards follow that of text sets
        parts = [*folder.glob("statistics-*.safetensors"), *folder.glob("rewards-*.npy")]
        self.reused = len(parts)
        if record.is_file() and record.read_bytes() == text:
            return
        self.reused = 0
        if parts:
            print(f"{folder}: of other inputs, and removed", file=sys.stderr)
        for part in parts:  # before the record changes: a kill must not make them this one's
            part.unlink()
        with atomic_write(record) as partial:
            partial.write_bytes(text)

    def statistics(self, name: str, compute: Callable[[], Activations]) -> Activations:
        """Return activation sums, computed or as they are there."""
        path = self._folder / f"statistics-{name}.safetensors"
        if not path.is_file():
            save_activations(path, {name: compute()})
        with _damage_named(path):
            return load_activations(path)[name]

    def rewards(
        self, name: str, ablation: bytes, compute: Callable[[], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Return rewards under an ablation, defined by bytes, computed or as they are there."""
        digest = hashlib.sha256(ablation).hexdigest()[:16]
        path = self._folder / f"rewards-{name}-{digest}.npy"
        if not path.is_file():
            with atomic_write(path) as partial, partial.open("wb") as file:
                np.save(file, compute())
        with _damage_named(path):
            rewards: NDArray[np.float32] = np.load(path)
            return rewards


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (UserError, ValueError, EOFError) as error:
        raise UserError(f"{path}: damaged ({error}); remove it and run the same again") from None


def digest_of(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file that decides what a model computes, by its name."""
    files = sorted([*folder.glob("*.json"), *folder.glob("*.safetensors"), *folder.glob("*.jinja")])
    return {file.name: sha256_of(file) for file in files}
