"""What an installed distribution says of itself, read from the head of its METADATA: the whole, its README included,
takes an e-mail parser.

In: an installed distribution. Out: the fields that the loader needs. Raises whatever reading its files
raises.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Metadata(NamedTuple):
    """``name`` and ``version`` are empty where they are missing."""

    name: str
    version: str
    requires: tuple[str, ...]


def metadata_of(dist: Any) -> Metadata:
    """Read a distribution's name, version and requirements (core metadata specification: fields end at the first empty
    line).
    """
    text = dist.read_text("METADATA")
    is_egg = text is None
    if text is None:
        text = dist.read_text("PKG-INFO")
    if text is None:
        raise FileNotFoundError("there is no METADATA")
    fields: dict[str, list[str]] = {}
    values: list[str] = []
    for line in text.partition("\n\n")[0].split("\n"):
        if not line.strip("\r"):
            break
        if line[0] in " \t":  # goes on with the field before
            values[-1:] = [f"{values[-1]} {line.strip()}"] if values else []
            continue
        name, _, value = line.partition(":")
        values = fields.setdefault(name.lower(), [])
        values.append(value.strip())
    first = {name: found[0] for name, found in fields.items()}
    requires = fields.get("requires-dist") or (dist.requires if is_egg else None)  # an egg may have a file for them
    return Metadata(first.get("name", ""), first.get("version", ""), tuple(requires or ()))
