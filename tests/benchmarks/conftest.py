"""The small repository in which all stages ran."""

from spotcheck.conftest import evaluated, tree  # noqa: F401
