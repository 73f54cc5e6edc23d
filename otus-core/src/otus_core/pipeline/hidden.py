"""What was not looked into, as the summary and the control plane show it: of the decoder and of parsers.

In: counters ``hidden{KIND}`` and ``hidden{PARSER:NAME}``. Out: a list of plain objects, the greatest number first, each
with the option that would look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from otus_core.decode.hidden import KINDS, LINKS, STREAMS, hidden_name

Declared = Mapping[str, Mapping[str, tuple[str, str]]]
"""By parser and name: what there is, and what would look into it."""


def hidden_counters(parsers: Declared) -> list[str]:
    """Give the names of the counters of what parsers do not look into; those of the decoder are its own."""
    return [hidden_name(f"{parser}:{name}") for parser, hidden in parsers.items() for name in hidden]


def not_looked_into(counters: Mapping[str, int], parsers: Declared) -> list[dict[str, Any]]:
    """Give ``what`` (the name), ``count``, ``told`` (plain words) and ``remedy`` of all that was met at least once."""
    found = [
        {"what": what, "count": counters[hidden_name(what)], "told": told, "remedy": remedy}
        for what, (told, remedy) in _words(parsers)
        if counters.get(hidden_name(what))
    ]
    return sorted(found, key=lambda one: -one["count"])


def _words(parsers: Declared) -> Iterator[tuple[str, tuple[str, str]]]:
    yield from KINDS.items()
    yield from LINKS.items()
    yield from STREAMS.items()
    for parser, hidden in parsers.items():
        for name, words in hidden.items():
            yield f"{parser}:{name}", words
