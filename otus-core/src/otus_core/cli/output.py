"""What is known of standard output before any command is imported: its form, and that nobody reads it any more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


class OutputClosed(Exception):
    """Whoever read standard output has had enough: ``| head``. No OSError, of which click would make exit status 1."""


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``--output json`` stands among the arguments, before the command or after it."""
    pairs = pairwise(arguments)
    return "--output=json" in arguments or ("--output", "json") in pairs
