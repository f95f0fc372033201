"""What tables and figures have in common: the paper's number, a heading and a note."""

import re
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Item:
    """`number` is the paper's, with a letter for what stands beside it (`19b`) and `S1`... for what the paper lacks.

    `heading` is a few words, `note` is plain sentences that say how to read it.
    """

    kind: ClassVar[str]
    number: str
    heading: str
    note: str

    @property
    def label(self) -> str:
        return f"{self.kind} {self.number}"

    @property
    def name(self) -> str:
        """The stem of its files and its anchor: `table_01`, `table_19b`, `figure_02a`."""
        return f"{self.kind.lower()}_{re.sub('[0-9]+', lambda digits: digits[0].zfill(2), self.number)}"
