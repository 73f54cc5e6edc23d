"""What there is to tell of a message whose payload does not write its own line of text."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from otus_core.model.output import OutputPacket

# Characters and number of what a line tells of a payload that writes no line itself: third parties make it, from
# packets.
KEY_MAX = 32
VALUE_MAX = 48
LABELS_MAX = 8
SAID_MAX = 512


def said(output: OutputPacket, short: bool = False) -> str:
    """Tell the payload's type and, behind a tab, what its ``to_text`` says or else its labels and its length; of a
    record, its key and what it holds. ``short``: of long texts only the beginning, and only the first few labels.

    Raises what the payload raises.
    """
    to_text = getattr(output.payload, "to_text", None)
    if to_text is not None:
        text = str(to_text())
        return f"{output.payload_type}\t{text[:SAID_MAX] if short else text}"
    told = [_pairs(output.labels, short)]
    if output.is_record:
        key = "" if output.key is None else _cut(str(output.key), VALUE_MAX, short)
        told = [key, *told, _pairs(output.payload, short) if isinstance(output.payload, Mapping) else ""]
    else:
        told.append(f"{len(output.raw_payload)} bytes")
    return "\t".join((str(output.payload_type), *filter(None, told)))


def marks(output: OutputPacket) -> str:
    """Tell VLAN tags and tunnel, where there are any."""
    told = []
    if output.vlans:
        told.append("vlan " + ".".join(map(str, output.vlans)))
    if output.tunnel is not None:
        told.append(output.tunnel if output.vni is None else f"{output.tunnel} {output.vni}")
    return "  ".join(told)


def _pairs(values: Mapping[Any, Any], short: bool) -> str:
    """Give the pairs of a mapping, the first few if it is to be short."""
    shown = islice(values.items(), LABELS_MAX if short else len(values))
    told = [f"{_cut(str(key), KEY_MAX, short)}={_cut(str(value), VALUE_MAX, short)}" for key, value in shown]
    if len(told) < len(values):
        told.append(f"… {len(values) - len(told)} more")
    return " ".join(told)


def _cut(text: str, most: int, short: bool) -> str:
    return text[: most - 1] + "…" if short and len(text) > most else text
