"""Read what people hand over to be scored: tables, records, pairs, dialogues."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from rm_tension.base.errors import UserError

SPEAKERS = {"user": "Human", "assistant": "Assistant"}  # in HH-RLHF's dialogues, by role
COLUMNS = ("answers", "chosen", "messages")  # one of these makes a mapping a record

Messages = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Item:
    """A prompt and its answers; `prompt` is empty where these are dialogues in HH-RLHF's form."""

    prompt: str
    answers: list[str]


def read_items(data: object) -> list[Item]:
    """Return the items of a table (of pandas, datasets, lists by column) or an iterable of rows.

    `read_item` says what a row may be; a mapping without one of its columns maps prompts to their
    answers. Raise UserError that names the first bad row by its number, from 1.
    """
    items = []
    for number, row in enumerate(_rows(data), start=1):
        try:
            items.append(read_item(row))
        except ValueError as error:
            raise UserError(f"item {number}: {error}") from error
    return items


def read_item(row: object) -> Item:
    """Return the item of one row; raise ValueError that says what is wrong with it.

    A row is a prompt and its answers; a dialogue in HH-RLHF's form; or a mapping with "answers",
    with "chosen" and "rejected", or with "messages", and a "prompt" where these do not hold it.
    What they hold is a text, a list of texts, or messages with "role" and "content".
    """
    if isinstance(row, str):
        return _checked("", [row])
    if isinstance(row, Mapping):
        return _read_record(row)
    if isinstance(row, Sequence) and len(row) == 2:
        prompt, answers = row
        if isinstance(answers, str):
            raise ValueError("answers must be a list of texts, not one text")
        return _read_record({"prompt": prompt, "answers": answers})
    raise ValueError(
        f"must be a prompt and a list of answers, a dialogue, or a record, not {row!r:.60}"
    )


def _rows(data: object) -> Iterable[object]:
    if isinstance(data, pd.DataFrame):
        return data.to_dict("records")
    if isinstance(data, Mapping):
        columns = [name for name in COLUMNS if name in data]
        if not columns:
            return list(data.items())
        if _is_record(data, columns[0]):
            return [data]
        return [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    if isinstance(data, set | frozenset):
        raise UserError("the items are a set, which has no order: give a list")
    if isinstance(data, str) or not isinstance(data, Iterable):
        raise UserError(f"the items must be a table or a list, not {data!r:.60}")
    return data


def _is_record(data: Mapping[str, Any], column: str) -> bool:
    """Tell one record from a table that maps column names to lists."""
    if isinstance(data.get("prompt"), str) or isinstance(data[column], str):
        return True
    first = next(iter(data[column]), None)
    return isinstance(first, Mapping) or (column == "answers" and isinstance(first, str))


def _read_record(record: Mapping[Any, Any]) -> Item:
    if "answers" in record:
        answers = _listed(record["answers"], "answers")
    elif "chosen" in record and "rejected" in record:
        answers = _listed(record["chosen"], "chosen") + _listed(record["rejected"], "rejected")
    elif "messages" in record:
        answers = _listed(record["messages"], "messages")
    else:
        raise ValueError(
            'must have "answers", "chosen" and "rejected", or "messages"; it has '
            f"{', '.join(map(str, record)) or 'nothing'}"
        )
    prompt = "" if record.get("prompt") is None else record["prompt"]
    if isinstance(prompt, str) and all(isinstance(answer, str) for answer in answers):
        return _checked(prompt, answers)
    return _read_conversations(prompt, answers)


def _listed(value: object, name: str) -> list[Any]:
    """Return a list of answers, each a text or messages, from one or several of them."""
    if isinstance(value, set | frozenset):
        raise ValueError(f"{name} are a set, which has no order: give a list")
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise ValueError(f"{name} must be a list of at least one text, not {value!r:.60}")
    values = list(value)
    if not values:
        raise ValueError(f"{name} must be a list of at least one text")
    return [values] if all(isinstance(value, Mapping) for value in values) else values


def _read_conversations(prompt: object, answers: list[Any]) -> Item:
    """Return the item of messages: of one exchange a prompt and answers, else dialogues."""
    before = _messages(prompt, "user") if not isinstance(prompt, str) or prompt else []
    pairs, dialogues = [], []
    for answer in answers:
        messages = _messages(answer, "assistant")
        begins_with_user = messages[0].get("role") == "user"
        turns = _turns(messages if begins_with_user else [*before, *messages])
        pairs.append(turns)
        dialogues.append("".join(f"\n\n{speaker}: {content}" for speaker, content in turns))
    prompts = {turns[0][1] for turns in pairs}
    if len(prompts) == 1 and all(len(turns) == 2 for turns in pairs):
        return _checked(prompts.pop(), [turns[1][1] for turns in pairs])
    return _checked("", dialogues)


def _messages(value: object, role: str) -> Messages:
    """Return messages as they are, and a text as one message of this role."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, Sequence | np.ndarray) or not len(value):
        raise ValueError(f"must be a text or messages, not {value!r:.60}")
    if not all(isinstance(message, Mapping) for message in value):
        raise ValueError(f'messages must each have "role" and "content", not be {value!r:.60}')
    return cast(Messages, list(value))


def _turns(messages: Messages) -> list[tuple[str, str]]:
    """Return speaker and text of each message; they must alternate and end with an answer."""
    turns = []
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in SPEAKERS:
            raise ValueError(
                f"a message's role is {role!r}, but these models know {' and '.join(SPEAKERS)} "
                "only: put its text into the user's message"
            )
        if role != list(SPEAKERS)[number % 2]:
            raise ValueError("messages must alternate between user and assistant, the user first")
        if not _is_text(content):
            raise ValueError("every message's content must be a text that is not blank")
        turns.append((SPEAKERS[role], cast(str, content)))
    if len(turns) % 2:
        raise ValueError("messages must end with the assistant's, which is what is scored")
    return turns


def _checked(prompt: str, answers: list[Any]) -> Item:
    """Return the item, as strict as the data stage; raise ValueError if it cannot be scored."""
    if prompt and not _is_text(prompt):
        raise ValueError("the prompt must be a text that is not blank")
    for answer in answers:
        if not _is_text(answer):
            raise ValueError(f"every answer must be a text that is not blank, not {answer!r:.60}")
        is_dialogue = answer.lstrip().startswith("Human:") and "\n\nAssistant:" in answer
        if not prompt and not is_dialogue:
            raise ValueError(
                "has no prompt, so that it must be a dialogue in HH-RLHF's form, "
                f"'\\n\\nHuman: ...\\n\\nAssistant: ...', not {answer!r:.60}"
            )
    try:
        "".join([prompt, *answers]).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half a surrogate pair, which is no letter ({error.reason})") from None
    return Item(prompt, answers)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
