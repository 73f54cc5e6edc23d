"""The bounds of Otus: those that can be set, and the constants in the sources whose names say that they are bounds.

Values come from the code. What happens beyond one is written here, and a test sees to it that none is missing and none
is left over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from docs.bounds_beyond import BEYOND, SETTABLE

ROOT = Path(__file__).parents[1]
ASSIGNED = re.compile(
    r"^ {0,4}(?P<name>[A-Z][A-Z0-9_]*)(?:: [\w\[\], .]+)? = (?P<value>[^#\n]+?)\s*(?:#.*)?$", re.MULTILINE
)
IS_BOUND = re.compile(r"(^|_)(MAX|MOST|WITHIN|PLACES|AHEAD)(_|$)")
NO_BOUND = re.compile(r"^MAX_FORWARDS$|^ETHERTYPE_LENGTH_MAX$")
"""Named like a bound: a header field of SIP, a number of IEEE 802.3."""
LEFT_OUT = ("otus_core/testing/", "otus_core/inline/")
"""What plugin authors test with; the length of the longest number and address as text."""


@attrs.frozen(order=True)
class Bound:
    """One bound: the file below ``src``, its name, and its value as it is written there."""

    where: str
    name: str
    value: str

    @property
    def key(self) -> str:
        """Its name in ``BEYOND``."""
        return f"{self.where}:{self.name}"


def bounds() -> Iterator[Bound]:
    """Give the constants of every distribution, file by file."""
    for path in sorted(ROOT.glob("otus-*/src/otus_*/**/*.p[yx]*")):
        where = path.relative_to(next(parent for parent in path.parents if parent.name == "src")).as_posix()
        if path.suffix not in (".py", ".pyx", ".pxd") or where.startswith(LEFT_OUT):
            continue
        for found in ASSIGNED.finditer(path.read_text()):
            if IS_BOUND.search(found["name"]) and not NO_BOUND.match(found["name"]):
                yield Bound(where, found["name"], found["value"])


def bounds_page() -> str:
    """Give the page's text."""
    rows = [f"| `{key}` | {_shown(_default(cls, field))} | {beyond} |\n" for key, cls, field, beyond in SETTABLE]
    fixed = [f"| `{one.name}` | `{one.value}` | `{one.where}` | {BEYOND.get(one.key, '')} |\n" for one in bounds()]
    return (
        "# Bounds\n\nFor operators who plan memory and disk, and for whoever wants to know what an attacker can "
        "make Otus do. Packets, peers, files and plugins may be hostile, so everything that they can make grow has a "
        "bound. "
        "Names ending in `_S` are seconds, in `_NS` nanoseconds.\n\n"
        "## Bounds that can be set\n\n| key | default | beyond it |\n|---|---|---|\n"
        + "".join(rows)
        + "\n## Constants\n\n| name | value | where | beyond it |\n|---|---|---|---|\n"
        + "".join(fixed)
    )


def _default(cls: type, name: str) -> Any:
    fields: Mapping[str, Any] = attrs.fields_dict(cls)
    return fields[name].default


def _shown(value: Any) -> str:
    return "none" if value is None else f"`{value:,}`" if isinstance(value, int) else f"`{value}`"
