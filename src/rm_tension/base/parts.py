"""Finished parts of a long stage, so that a kill costs no more than the part at hand."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rm_tension.base.runs import digest_of_code


def parts_folder(
    state: Path, code: Iterable[str], settings: dict[str, Any], inputs: Iterable[Path]
) -> Path:
    """The folder below `state` for parts made by this `code` (of `runs.digest_of_code`), settings and files.

    What an interrupted run left there is still good; parts of anything else are removed. The caller removes `state`
    once the whole is written.
    """
    digest = hashlib.blake2b(json.dumps([digest_of_code(code), settings]).encode(), digest_size=16)
    for path in inputs:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    folder = state / digest.hexdigest()
    if state.exists() and not folder.exists():
        shutil.rmtree(state)
    folder.mkdir(parents=True, exist_ok=True)
    if found := sorted(path.stem for path in folder.iterdir() if not path.name.startswith(".")):
        print(f"{folder}: resuming with {', '.join(found)} already done")
    return folder
