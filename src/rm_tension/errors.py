"""The one exception that a stage shows without a traceback."""


class UserError(Exception):
    """Something outside the code is wrong; the message names the file or key, the value and the remedy."""
