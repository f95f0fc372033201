"""What tables and figures have in common: the paper's number, a heading and a note."""

import re
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Item:
    """A table or figure.

    `number` is the paper's, with a letter for what stands beside it (`19b`), and `S1`... for what
    the paper lacks. `heading` is a few words, `note` plain sentences that say how to read it.
    """

    kind: ClassVar[str]
    number: str
    heading: str
    note: str

    @property
    def label(self) -> str:
        """`Table 1`."""
        return f"{self.kind} {self.number}"

    @property
    def name(self) -> str:
        """The stem of its files and its anchor: `table_01`, `table_19b`, `figure_02a`."""
        padded = re.sub("[0-9]+", lambda digits: digits[0].zfill(2), self.number)
        return f"{self.kind.lower()}_{padded}"
