"""The one exception that a stage shows without a traceback."""

import re


class UserError(Exception):
    """Something outside the code is wrong; the message names the file or key, the value and the remedy."""

    def __init__(self, message: str):
        super().__init__(without_passwords(message))


def without_passwords(text: str) -> str:
    """The text, with `//host` for every `//user:password@host` in it."""
    return re.sub(r"//[^/\s]*@", "//", text)
