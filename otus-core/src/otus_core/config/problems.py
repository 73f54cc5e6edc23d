"""What is wrong with a configuration: collected with its paths, and told in words that show what was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otus_core.errors import ConfigInvalid, ConfigProblem, closest
from otus_core.model.text import printable

SHOWN_MAX = 60
"""Characters of a wrong value that a message shows."""
PROBLEMS_MAX = 100
"""Problems that are told at once; more help nobody."""

BAD = object()
"""Stands for a value that has been reported as a problem."""


class Problems:
    """Collects what is wrong, up to ``PROBLEMS_MAX``."""

    def __init__(self) -> None:
        self.found: list[ConfigProblem] = []

    def add(self, path: str, message: str) -> Any:
        """Note a problem; gives ``BAD``, so that a caller can return it."""
        if not self.is_full:
            self.found.append(ConfigProblem(path, message))
        return BAD

    def add_below(self, path: str, error: ConfigInvalid) -> Any:
        """Note the problems of a part, whose paths begin at that part; gives ``BAD``."""
        for problem in error.problems:
            self.add(_below(path, problem.path), problem.message)
        return BAD

    @property
    def is_full(self) -> bool:
        """Whether nothing more is told: looking further is in vain."""
        return len(self.found) >= PROBLEMS_MAX


def join(path: str, key: str | int) -> str:
    """Extend a path: ``reporters[0].config.topic``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _below(path: str, rest: str) -> str:
    return path + rest if not path or not rest or rest.startswith("[") else f"{path}.{rest}"


def unknown_key(key: object, known: Sequence[str]) -> str:
    """Say that a key is unknown, and which one was meant."""
    close = closest(str(key)[:SHOWN_MAX], known)
    if close is not None:
        return f"unknown key; did you mean {printable(close, SHOWN_MAX)}?"
    return f"unknown key; there are: {', '.join(known)}" if known else "unknown key; nothing can be set here"


def tell(value: Any) -> str:
    """Show a wrong value in a message: its kind and, short and escaped, itself."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the text "{printable(value, SHOWN_MAX)}"'
    if isinstance(value, int):
        return f"the integer {value}" if abs(value) < 10**18 else "a huge integer"
    if isinstance(value, float):
        return f"the number {value!r}"
    return (
        "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, Sequence) else type(value).__name__
    )
