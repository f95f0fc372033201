"""The console blocks of the Markdown documents: commands, the output that they promise, and how a test runs them.

A block begins with ```console and maybe a mode. `$ ` starts a command, a last backslash continues
it, other lines are its output, in which `...` stands for anything, over several lines where it
stands alone. Modes:

- none: run it, expect exit 0 and the output;
- fails: run it, expect another exit;
- ci: .ci/run runs it;
- gpu: needs what a test has not (a GPU, a hub, a Docker engine): check its arguments and stages;
- serves: run it until the output has come, then stop it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCUMENTS = ("README.md", "ARTIFACT.md", *sorted(str(path) for path in Path("docs").glob("*.md")))
MODES = ("", "fails", "ci", "gpu", "serves")
BLOCK = re.compile(r"^```console ?(?P<mode>.*)\n(?P<lines>(?:.*\n)*?)```$", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """One command of a document; `output` is what follows it there."""

    document: str
    line: int
    mode: str
    text: str
    output: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text}"

    def promises(self, printed: str) -> bool:
        """Whether `printed` holds the promised lines, in order and without gaps but for `...`."""
        pattern = ""
        for line in self.output.splitlines():
            if line.strip() == "...":
                pattern += r"(.*\n)*?"
            else:
                pattern += re.escape(line.rstrip()).replace(r"\.\.\.", ".*") + r"\s*\n"
        lines = "".join(line.rstrip() + "\n" for line in printed.splitlines())
        return re.search("^" + pattern, lines, re.MULTILINE) is not None


def commands(document: str) -> Iterator[Command]:
    """Those of a document, in order."""
    text = Path(document).read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start("lines")) + 1
        mode, lines = block["mode"].strip(), block["lines"].splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
        for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
            end = start
            while lines[end].endswith("\\"):
                end += 1
            command = "\n".join(lines[start : end + 1]).removeprefix("$ ")
            yield Command(document, first + start, mode, command, "\n".join(lines[end + 1 : stop]))
