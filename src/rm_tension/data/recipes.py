"""The miniature's texts and preferences, from miniature.yaml."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Topic = dict[str, tuple[str, ...]]  # the words that a sentence's {fields} may take


@dataclass(frozen=True)
class Recipe:
    """Kinds of prompt and of chosen and rejected answer, each drawn alike."""

    prompts: tuple[str, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]

    @classmethod
    def parse(cls, line: str) -> "Recipe":
        """Read `prompts | chosen | rejected`, kinds with commas between them."""
        return cls(*(tuple(map(str.strip, part.split(","))) for part in line.split("|")))


def _topics(lines: str) -> list[Topic]:
    """Read one topic a line: `do | thing | tool`."""
    rows = [map(str.strip, line.split("|")) for line in lines.splitlines()]
    return [{"do": (do,), "thing": (thing,), "tool": (tool,)} for do, thing, tool in rows]


def _claims(topic: Topic, claim: str, right: Iterable[str], choices: Iterable[str]) -> Topic:
    """Return the topic with {right} and {wrong} claims.

    `claim` is about a word of `right`, or about any other word of `choices`.
    """
    right = tuple(right)
    wrong = tuple(claim.format(word) for word in choices if word not in right)
    return topic | {"right": tuple(map(claim.format, right)), "wrong": wrong}


def _sum(a: int, b: int) -> Topic:
    topic: Topic = {"do": (f"add {a} and {b}",), "thing": ("number",), "tool": ("pencil",)}
    near = [str(a + b + error) for error in (-10, -2, -1, 0, 1, 2, 10)]
    return _claims(topic, f"{a} plus {b} is {{}}.", [str(a + b)], near)


def _function(language: str, verb: str, operations: dict[str, str]) -> Topic:
    do = f"write a {language} function that {verb} two numbers"
    topic: Topic = {"do": (do,), "thing": ("numbers",), "tool": ("test",)}
    return _claims(topic, "return a {} b", [operations[verb]], operations.values())


def _names(kind: str, right: list[str], wrong: list[str]) -> Topic:
    return _claims({"do": (f"name a {kind}",)}, "{}", right, right + wrong)


def _make_topics(raw: dict[str, Any]) -> dict[str, list[Topic]]:
    """Return what a prompt may be about, by kind of prompt."""
    topics = {kind: _topics(lines) for kind, lines in raw["topics"].items()}
    benign, words = topics["benign"], raw["words"]
    colours, animals = raw["colours"], raw["animals"]
    tools = dict.fromkeys(tool for topic in benign for tool in topic["tool"])
    constraints = {
        word: _claims({"word": (word,)}, "It is {} work.", [word], words) for word in words
    }
    topics["harmful"] = topics["dangerous"] + topics["offensive"]
    topics["sum"] = [_sum(a, b) for a in range(11, 40, 3) for b in range(2, 9)]
    topics["fact"] = [_claims(t, "You need the {}.", t["tool"], tools) for t in benign]
    topics["constraint"] = [topic | constraints[word] for topic in benign for word in words]
    topics["tied"] = [_names("colour", colours, animals), _names("animal", animals, colours)]
    topics["ref"] = [
        _names("colour of grass", ["green"], animals),
        _names("animal that barks", ["dog"], colours),
    ]
    for language in raw["languages"]:
        operations = raw["operations"]
        topics[language] = [_function(language, verb, operations) for verb in operations]
    return topics


_RAW: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("miniature.yaml").read_text(encoding="utf-8")
)
_ASK, _SLY, _REQUEST = (_RAW["prompts"].pop(kind) for kind in ("ask", "ask slyly", "request"))
TOPICS = _make_topics(_RAW)
PROMPTS: dict[str, list[str]] = {
    **_RAW["prompts"],
    **dict.fromkeys(("benign", "alarming"), _ASK),
    **dict.fromkeys(("dangerous", "offensive", "harmful"), _ASK[:3] + _SLY),
    **dict.fromkeys(("sum", "tied", "ref", *_RAW["languages"]), _REQUEST),
}
SENTENCES: dict[str, list[str]] = _RAW["sentences"]
ANSWERS: dict[str, list[str]] = _RAW["answers"]
PREFERENCES: dict[str, list[Recipe]] = {
    source: list(map(Recipe.parse, lines)) for source, lines in _RAW["preferences"].items()
}
TASKS: dict[str, dict[str, Recipe]] = {
    suite: {subset: Recipe.parse(line) for subset, line in lines.items()}
    for suite, lines in _RAW["tasks"].items()
}
for _language in _RAW["languages"]:
    TASKS["reward-bench"][f"hep-{_language}"] = Recipe.parse(f"{_language} | right | wrong")
