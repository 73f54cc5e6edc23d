"""Which nodes run which versions: read from what nodes say, compared, and shown where they differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from otus_core import Column, printable, table_lines

CORE = "otus-core"
ABSENT = "none"
DISTRIBUTIONS_MAX = 200
"""Distributions of one node that are looked at; a node has some ten."""
NAMES_SHOWN = 6
"""Nodes named on one line; the number of all stands beside them."""
COLUMNS = (Column("DISTRIBUTION"), Column("VERSION"), Column("COUNT"), Column("NODES"))
TEXT_MAX = 64
"""Characters of a name or a version that somebody else wrote."""

Versions = dict[str, dict[str, str]]
"""By node, the version of each distribution."""


def read_versions(answers: Mapping[str, Mapping[str, Any]], heartbeats: Mapping[str, Mapping[str, Any]]) -> Versions:
    """Give the versions that nodes name in their answers or, where they are silent or say nothing of it, in their last
    heartbeats. Of a node that is older than this question only the core's is known, or nothing at all.
    """
    found: Versions = {}
    for node in sorted({*answers, *heartbeats}):
        result = answers.get(node, {}).get("result")
        beat = heartbeats.get(node, {})
        said = _make_sound(result.get("versions") if isinstance(result, Mapping) else None) or _make_sound(
            beat.get("versions")
        )
        if not said and isinstance(core := beat.get("otus_version"), str) and core:
            said = {CORE: printable(core, TEXT_MAX)}
        found[node] = said
    return found


def show_versions(versions: Versions) -> list[str]:
    """Say in lines of text what runs where: in one sentence if it is the same on all nodes, otherwise with a table of
    the distributions that differ, the rarest version last.
    """
    known = {node: said for node, said in versions.items() if said}
    if not known:
        return []
    unknown = [node for node in versions if node not in known]
    lines = [f"versions unknown: {_names(unknown)}"] if unknown else []
    # A node that names the core alone is too old to name the rest, which says nothing about its plugins.
    full = {node: said for node, said in known.items() if set(said) != {CORE}}
    rows: list[list[str]] = []
    for name in sorted({name for said in known.values() for name in said}, key=lambda name: (name != CORE, name)):
        nodes: dict[str, list[str]] = defaultdict(list)
        for node, said in (known if name == CORE else full).items():
            nodes[said.get(name, ABSENT)].append(node)
        if len(nodes) > 1:
            ranked = sorted(nodes.items(), key=lambda item: (-len(item[1]), item[0]))
            rows += [[name, version, str(len(on)), _names(on)] for version, on in ranked]
    if not rows:
        cores = {said.get(CORE, ABSENT) for said in known.values()}
        count = "1 node runs" if len(known) == 1 else f"{len(known)} nodes run the same versions:"
        others = len({name for said in full.values() for name in said} - {CORE})
        return [*lines, f"{count} {CORE} {cores.pop()}" + (f" and {others} more distributions" if others else "")]
    return [*lines, "versions differ:", *table_lines(COLUMNS, rows)]


def _make_sound(said: object) -> dict[str, str]:
    """Give what is a name with its version, made safe to show: anybody may have written it."""
    if not isinstance(said, Mapping):
        return {}
    pairs = ((name, version) for name, version in list(said.items())[:DISTRIBUTIONS_MAX])
    return {printable(n, TEXT_MAX): printable(v, TEXT_MAX) for n, v in pairs if n and isinstance(v, str) and v}


def _names(nodes: list[str]) -> str:
    more = len(nodes) - NAMES_SHOWN
    shown = ", ".join(printable(node, TEXT_MAX) for node in nodes[:NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
