"""How values are written for people: no ``True``, no ``None``, no bare seconds, nothing that a terminal would obey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otus_core.model.text import printable


def count(n: int, what: str) -> str:
    """Write a number of things: ``1 task``, ``3 tasks``."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def say(value: Any) -> str:
    """Write a value as one would say it; what is empty is an empty text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{str(key).replace('_', ' ')} {say(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(say, value))
    return "" if value is None else str(value)


def show(text: str, width: int) -> str:
    """Make text safe for a terminal, and cut it to ``width`` characters, ending in ``…`` then.

    A backslash stays single, unlike with ``printable``: what a component says has been made printable where it came in.
    """
    if not text.isprintable():
        text = "".join(one if one.isprintable() else printable(one) for one in text[: width + 1])
    return text if len(text) <= width else text[: width - 1] + "…"
