"""`rm-tension score`: JSON lines in, the same lines with rewards out."""

import codecs
import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from rm_tension.base.errors import UserError
from rm_tension.base.files import whole
from rm_tension.score.loading import fault_of, load_reward_model

Name = Annotated[str, Parameter(allow_leading_hyphen=True)]  # - is stdin or stdout
SHOWN = 20  # faults of a file beyond this many are counted, not listed


def main(
    input: Name = "-",
    output: Name = "-",
    *,
    model: str,
    profile: str = "paper",
    repo: str | None = None,
    rev: str | None = None,
    device: str | None = None,
) -> None:
    """Score answers with a trained reward model: JSON lines in, the same lines with "rewards" out.

    Each line is an object with "prompt", a text, and "answers", a list of texts; what else it holds is kept. The
    checkpoint is fetched through DVC if it is not here; stderr says how many files come, and shows their progress. A
    reward is that of the pipeline's own evaluation; rewards compare answers to one prompt under one model, they have no
    absolute meaning.

    Args:
        input: A JSON-lines file; - is stdin.
        output: Appears whole or not at all; - is stdout.
        model: BACKBONE-OBJECTIVE-SEED, such as gpt2-small-helpful-0; or a folder: ./DIR; or a hub's: hf://ORG/NAME@REV.
        profile: That it was trained under.
        repo: Path or git URL of a repository like this one. Default: the one around the working directory.
        rev: A git revision of it. Default: its working tree.
        device: A torch device, such as cpu or cuda:1. Default: the best there is.
    """
    if Path(output).is_dir():
        raise UserError(f"{output}: a folder; name a file to write the rewards to")
    lines = read(input)
    reward_model = load_reward_model(model, profile=profile, repo=repo, rev=rev, device=device)
    rewards = reward_model.score_all([(line["prompt"], line["answers"]) for line in lines])
    write(output, [line | {"rewards": scored} for line, scored in zip(lines, rewards, strict=True)])


def read(name: str) -> list[dict[str, Any]]:
    """The lines of a file, or of stdin for "-"; UserError that names the line of every fault."""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror})") from error
    found, faults = [], []
    for number, line in enumerate(raw.removeprefix(codecs.BOM_UTF8).splitlines(), start=1):
        try:
            found.append(_parse(line))
        except (ValueError, RecursionError) as error:
            faults.append(f"line {number}: {error}")
    if not found and not faults:
        faults.append("there is no line to score")
    if faults:
        more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        raise UserError(
            "\n  ".join([f"{'stdin' if name == '-' else name}:", *faults[:SHOWN], *more])
        )
    return found


def _parse(line: bytes) -> dict[str, Any]:
    """Raises ValueError, of which wrong JSON and wrong UTF-8 are two kinds."""
    value = json.loads(line.decode("utf-8"), object_pairs_hook=_without_doubles)
    if not isinstance(value, dict) or not {"prompt", "answers"} <= value.keys():
        raise ValueError('must be an object with "prompt" and "answers"')
    if "rewards" in value:
        raise ValueError('has "rewards" already')
    if fault := fault_of(value["prompt"], value["answers"]):
        raise ValueError(fault)
    _dump(value)
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; ValueError for a key that stands in it twice, of which JSON readers take the first or the last."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"{next(name for name in names if names.count(name) > 1)!r} stands there twice"
        )
    return value


def _dump(value: dict[str, Any]) -> bytes:
    """One line; raises ValueError for what JSON in UTF-8 cannot hold: NaN, and half of a surrogate pair."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def write(name: str, lines: list[dict[str, Any]]) -> None:
    """To a file, or to stdout for "-"."""
    raw, path = b"".join(map(_dump, lines)), Path(name)
    try:
        if name == "-":
            _to_stdout(raw)
        elif path.exists() and not path.is_file():  # a pipe or a device, which must stay what it is
            path.write_bytes(raw)
        else:
            with whole(path) as partial:
                partial.write_bytes(raw)
    except OSError as error:
        raise UserError(f"{name}: cannot be written ({error.strerror})") from error


def _to_stdout(raw: bytes) -> None:
    """Raises OSError where it is closed, or its reader is gone, or its disk is full: here, not as Python exits."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "stdout is closed")
    try:
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
    except OSError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or Python tries once more as it exits
        raise
