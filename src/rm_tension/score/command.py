"""`rm-tension score`: JSON lines in, the same lines with rewards out."""

import codecs
import gzip
import json
import sys
import zlib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write, refuse_unwritable
from rm_tension.score.items import Item, read_item
from rm_tension.score.loading import load_reward_model

Name = Annotated[str, Parameter(allow_leading_hyphen=True)]  # - is stdin or stdout
SHOWN = 20  # faults of a file; more are counted
GZIP = b"\x1f\x8b"


def main(
    input: Name = "-",
    output: Name = "-",
    *,
    model: str,
    profile: str | None = None,
    repo: str | None = None,
    rev: str | None = None,
    device: str | None = None,
    template: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    dtype: str | None = None,
) -> None:
    """Score answers with a trained reward model: JSON lines in, the same lines with "rewards" out.

    Each line is an object with "prompt" and "answers", a list of texts; or with "chosen" and
    "rejected"; or with "messages". Other keys are kept; blank lines are left out. Without a prompt,
    texts are dialogues in HH-RLHF's form. The checkpoint is fetched through DVC if it is not here.
    Compare rewards only between answers to one prompt under one model.

    Args:
        input: A JSON-lines file, which may be packed (.gz); - is stdin.
        output: The file to write, complete or not at all; - is stdout.
        model: A key BACKBONE-OBJECTIVE-SEED, such as gpt2-small-helpful-0; a folder, ./DIR; or a
            repository of the hub, hf://ORG/NAME@REV. The last two may hold any sequence classifier
            of transformers with one label.
        profile: The profile that the key belongs to. Default: the only one that has it.
        repo: The path or git URL of a repository like this one. Default: the one around the
            working directory.
        rev: A git revision of that repository. Default: its working tree.
        device: A torch device, such as cpu or cuda:1. Default: the best there is.
        template: The text for a model that others trained, with {prompt} and {answer}. Default:
            its tokenizer's chat template.
        dtype: The type of such a model's weights. Default: float32, or bfloat16 where memory is
            short.
    """
    if Path(output).is_dir():
        raise UserError(f"{output}: a folder; name a file to write the rewards to")
    if output != "-":
        refuse_unwritable(Path(output))  # before hours of scoring
    lines = read(input)
    reward_model = load_reward_model(
        model,
        profile=profile,
        repo=repo,
        rev=rev,
        device=device,
        template=template,
        dtype=dtype,
    )
    print(reward_model, file=sys.stderr)
    rewards = reward_model.score_items([item for _, item in lines])
    write(
        output,
        [line | {"rewards": scored} for (line, _), scored in zip(lines, rewards, strict=True)],
    )


def read(name: str) -> list[tuple[dict[str, Any], Item]]:
    """Return each line of a file, or of stdin for "-", and what is to be scored of it.

    Raise UserError that names the line of every fault.
    """
    shown_name = "stdin" if name == "-" else name
    lines, faults = [], []
    for number, line in enumerate(_read_text(name, shown_name).split("\n"), start=1):
        try:
            if line.strip():
                lines.append(_parse(line))
        except ValueError as error:
            faults.append(f"line {number}: {error}")
        except RecursionError:
            faults.append(f"line {number}: nested too deeply")
    if not lines and not faults:
        faults.append("there is no line to score")
    if faults:
        more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        raise UserError("\n  ".join([f"{shown_name}:", *faults[:SHOWN], *more]))
    return lines


def _read_text(name: str, shown_name: str) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with its mark, packed or not."""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        if raw.startswith(GZIP):
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or f"damaged: {error}"
        raise UserError(f"{shown_name}: cannot be read ({reason})") from error
    is_utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{shown_name}: line {line}: damaged {error.encoding} ({error.reason}): save the file "
            "as UTF-8"
        ) from error


def _parse(line: str) -> tuple[dict[str, Any], Item]:
    """Return the object and the item of a line; raise ValueError that says what is wrong."""
    try:
        value = json.loads(line, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON, from character {error.pos + 1}: {error.msg}") from None
    if not isinstance(value, dict):
        raise ValueError('must be an object, such as {"prompt": "...", "answers": ["...", "..."]}')
    if "rewards" in value:
        raise ValueError('has "rewards" already')
    item = read_item(value)
    _dump(value)
    return value, item


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raise ValueError for a key that stands in it twice."""
    value: dict[str, Any] = {}
    for name, content in pairs:
        if name in value:
            raise ValueError(f"{name!r} stands there twice")
        value[name] = content
    return value


def _dump(value: dict[str, Any]) -> bytes:
    """Return one line; raise ValueError for what JSON in UTF-8 cannot hold."""
    try:
        return (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"half a surrogate pair, which is no letter ({error.reason})") from None
    except ValueError:
        raise ValueError("holds NaN or Infinity, which are no JSON") from None


def write(name: str, lines: list[dict[str, Any]]) -> None:
    """Write to a file, or to stdout for "-"; raise UserError if a file cannot be written."""
    raw, path = b"".join(map(_dump, lines)), Path(name)
    if name == "-":
        if sys.stdout is None:
            raise UserError("-: stdout is closed; name a file to write the rewards to")
        sys.stdout.buffer.write(raw)  # cli.main says what goes wrong with it
        return
    try:
        if path.exists() and not path.is_file():  # a pipe or a device, which must stay what it is
            path.write_bytes(raw)
        else:
            with atomic_write(path) as partial:
                partial.write_bytes(raw)
    except OSError as error:
        raise UserError(f"{name}: cannot be written ({error.strerror})") from error
