"""The one exception that a command shows without a traceback."""

import re


class UserError(Exception):
    """Something outside the code is wrong; the message names file or key, value and remedy."""

    def __init__(self, message: str):
        super().__init__(without_passwords(message))


def without_passwords(text: str) -> str:
    """Return the text, with `//host` for every `//user:password@host` in it."""
    return re.sub(r"//[^/\s]*@", "//", text)
