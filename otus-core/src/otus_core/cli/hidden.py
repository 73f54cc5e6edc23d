"""What a capture hides, for people: a short block below the counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HEAD = "not looked into:"
KEY = "decoder.tunnels: ["


def hidden_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the block's lines, none when there is nothing to tell."""
    width = max((len(f"{one['count']:,}") for one in entries), default=0)
    lines = [f"  {one['count']:>{width},} {_write_count(one)}: {one['remedy']}" for one in entries]
    return [HEAD, *lines] if lines else []


def as_arguments(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Name the arguments of ``otus run`` in the place of a task's keys."""
    return [{**one, "remedy": _argument(one["remedy"])} for one in entries]


def _argument(remedy: str) -> str:
    rest = remedy.removeprefix(KEY)
    return remedy if rest == remedy or not rest.endswith("]") else f"--tunnels {rest.removesuffix(']')}"


def _write_count(one: Mapping[str, Any]) -> str:
    """Say ``1 packet in GRE``, ``2 packets in GRE``."""
    noun, blank, rest = one["told"].partition(" ")
    return f"{noun.removesuffix('s') if one['count'] == 1 else noun}{blank}{rest}"
