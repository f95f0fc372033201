"""Read what people hand over to be scored: tables, records, pairs, dialogues."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import pandas as pd

from rm_tension.base.errors import UserError

SPEAKERS = {"user": "Human", "assistant": "Assistant"}  # in HH-RLHF's dialogues, by role
COLUMNS = (("answers",), ("chosen", "rejected"), ("messages",))  # that answers may stand in


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
        columns = [names[0] for names in COLUMNS if names[0] in data]
        if not columns:
            return list(data.items())
        if _is_record(data, columns[0]):
            return [data]
        return [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    if _is_list(data):
        return data
    raise UserError(f"the items must be a table or a list, not {data!r:.60}")


def _is_list(value: object) -> TypeGuard[Iterable[Any]]:
    """Tell what holds things in an order, such as a list, an array or a generator."""
    return isinstance(value, Iterable) and not isinstance(value, str | Mapping | set | frozenset)


def _is_record(data: Mapping[str, Any], column: str) -> bool:
    """Tell one record from a table that maps column names to lists."""
    if isinstance(data.get("prompt"), str) or isinstance(data[column], str):
        return True
    first = next(iter(data[column]), None)
    return isinstance(first, Mapping) or (column == "answers" and isinstance(first, str))


def _read_record(record: Mapping[Any, Any]) -> Item:
    for names in COLUMNS:
        if all(name in record for name in names):
            answers = [answer for name in names for answer in _listed(record[name], name)]
            break
    else:
        raise ValueError(
            'must have "answers", "chosen" and "rejected", or "messages"; it has '
            f"{', '.join(map(str, record)) or 'nothing'}"
        )
    prompt = record.get("prompt")
    if prompt is None or (isinstance(prompt, float) and math.isnan(prompt)):  # pandas' None
        prompt = ""
    if isinstance(prompt, str) and all(isinstance(answer, str) for answer in answers):
        return _checked(prompt, answers)
    return _read_conversations(prompt, answers)


def _listed(value: Any, name: str) -> list[Any]:
    """Return a list of answers, each a text or messages, from one or several of them."""
    if isinstance(value, str):
        return [value]
    values = list(value) if _is_list(value) else []
    if not values:
        raise ValueError(f"{name} must be a list of at least one text, not {value!r:.60}")
    return [values] if all(isinstance(value, Mapping) for value in values) else values


def _read_conversations(prompt: object, answers: list[Any]) -> Item:
    """Return the item of messages: of one exchange a prompt and answers, else dialogues."""
    before = _messages(prompt, "user") if not isinstance(prompt, str) or prompt else []
    exchanges = []
    for answer in answers:
        messages = _messages(answer, "assistant")
        begins_with_user = messages[0].get("role") == "user"
        exchanges.append(_turns(messages if begins_with_user else [*before, *messages]))
    prompts = {turns[0][1] for turns in exchanges}
    if len(prompts) == 1 and all(len(turns) == 2 for turns in exchanges):
        return _checked(prompts.pop(), [turns[1][1] for turns in exchanges])
    dialogues = [
        "".join(f"\n\n{speaker}: {text}" for speaker, text in turns) for turns in exchanges
    ]
    return _checked("", dialogues)


def _messages(value: Any, role: str) -> list[Mapping[str, Any]]:
    """Return messages as they are, and a text as one message of this role."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    messages = list(value) if _is_list(value) else []
    if not messages or not all(isinstance(message, Mapping) for message in messages):
        raise ValueError(
            f'must be a text or messages, each with "role" and "content", not {value!r:.60}'
        )
    return messages


def _turns(messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
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
        turns.append((SPEAKERS[role], content))
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


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())
