"""Results of one dissection that are kept, so that an interrupted one goes on where it was."""

import hashlib
import json
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
    """Files computed from the same inputs, in a subfolder that their digest names.

    `inputs` is what decides them, as JSON holds it. `reused` is how many files were there.
    """

    def __init__(self, folder: Path, inputs: Mapping[str, Any]) -> None:
        text = json.dumps(inputs)  # in order: rewards follow that of text sets
        self._folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.reused = len([*self._folder.glob("[!.]*")])

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
