"""Damage to valid inputs: to bytes as disks and editors do it, to values as people and other programs do it."""

import copy
from typing import Any

from hypothesis import strategies as st

INSERTED = [
    b"\xff\xfe",
    b"\x00",
    b"\xef\xbb\xbf",
    "İ→".encode(),
    b"[" * 3000,
    b"{",
    b'"',
    b"\t",
    b": ",
    b"9" * 400,
]
ODD: list[Any] = [
    *(None, True, -1, 0, 1.5, 2**31, 2**64, 10**400, float("nan"), float("inf"), 5e-324),
    *("", " ", "\ud83d", "a\x00b", "../../x", "İ→模型", "x" * 5000, "1", "nan"),
    *([], {}, [[]], [None], {"": 1}, ["a", 1], [["a"], []], {"path": "x"}),
]


@st.composite
def bytes_of(draw, raw: bytes) -> bytes:
    """One to three damages."""
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(raw))] * 2)))
        kind = draw(
            st.sampled_from(["cut", "remove", "repeat", "flip", "insert", "lines", "empty"])
        )
        if kind == "cut":
            raw = raw[:start]
        elif kind == "remove":
            raw = raw[:start] + raw[end:]
        elif kind == "repeat":
            raw = raw[:end] + raw[start:]
        elif kind == "flip":
            raw = (
                raw[:start]
                + bytes(byte ^ draw(st.integers(1, 255)) for byte in raw[start : start + 1])
                + raw[start + 1 :]
            )
        elif kind == "insert":
            raw = raw[:start] + draw(st.sampled_from(INSERTED)) + raw[start:]
        elif kind == "lines":
            lines = raw.splitlines(keepends=True)[:200]
            raw = b"".join(draw(st.permutations(lines)))
        else:
            raw = b""
    return raw


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values below this one."""
    keys = (
        value.keys()
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    return [place for key in keys for place in [(*path, key), *places(value[key], (*path, key))]]


@st.composite
def value_of(draw, value: Any) -> Any:
    """One or two damages to JSON-like values: another value, none, one twice, one in the place of another."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        if not (found := places(value)):
            return value
        *parents, last = draw(st.sampled_from(found))
        node = _at(value, parents)
        kind = draw(st.sampled_from(["odd", "odd", "remove", "twice", "other", "name"]))
        if kind == "odd":
            node[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif kind == "remove":
            del node[last]
        elif kind == "other":
            node[last] = copy.deepcopy(_at(value, draw(st.sampled_from(found))))
        elif isinstance(node, list):
            node.insert(0, copy.deepcopy(node[last]))
        else:
            node[draw(st.sampled_from(["x", "İ", "", "a.b"]))] = (
                node[last] if kind == "twice" else node.pop(last)
            )
    return value


def _at(value: Any, path: Any) -> Any:
    for key in path:
        value = value[key]
    return value
