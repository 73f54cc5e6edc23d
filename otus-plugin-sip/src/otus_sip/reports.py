"""What a party itself says of its media: voice-quality reports (RFC 6035), and the header X-RTP-Stat at the end of a
call.

In: a message. Out: the Call-ID that it is about, and the context to announce: ``reported`` in it says what its sender
received and what it sent. Only what is a plausible number is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, Protocol

REPORT_TYPE = "application/vq-rtcpxr"
HEADERS = frozenset(("x-rtp-stat", "x-rtp-stats", "p-rtp-stat", "x-siemens-rtp-stats"))
"""As makers of telephones and gateways call it; AudioCodes and Poly describe its fields in their manuals."""
# Bounds of a report that a telephone sends of itself (RFC 6035 §4.6): it has some thirty lines of a hundred characters.
TEXT_MAX = 4096
LINES_MAX = 64
FIELDS_MAX = 64
NUMBER_MAX = 1e12
CALL_ID_SHOWN_MAX = 256
TAG_MAX = 64

_FIELD = re.compile(r"([A-Za-z]{2,10})=([^;,\s]*)")
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?", re.ASCII)
_SSRC = re.compile(r"(?:0x)?([0-9A-Fa-f]{1,8})", re.ASCII)

RECEIVED = {"PR": "packets", "OR": "bytes", "PL": "lost", "PD": "discarded", "JI": "jitter_ms", "LA": "delay_ms"}
SENT = {"PS": "packets", "OS": "bytes"}
METRICS = {
    ("PacketLoss", "NLR"): "loss_pct",
    ("PacketLoss", "JDR"): "discard_pct",
    ("Delay", "RTD"): "rtt_ms",
    ("Delay", "IAJ"): "jitter_ms",
    ("QualityEst", "RLQ"): "r",
    ("QualityEst", "RCQ"): "r_conversation",
    ("QualityEst", "MOSLQ"): "mos",
    ("QualityEst", "MOSCQ"): "mos_conversation",
}
"""Metrics of RFC 6035 §4.6.2."""
UNKNOWN = 127
"""Stands for what the reporter does not know (RFC 3611 §4.7.5, which RFC 6035 follows)."""


class Message(Protocol):
    """What is read of a message."""

    @property
    def body(self) -> bytes:
        """Give what is behind the header fields."""

    @property
    def content_type(self) -> str | None:
        """Give what that is."""


def read_report(
    message: Message, signalling: tuple[bytes, bytes, bytes, bytes, int, bytes, int], fields: Mapping[str, str]
) -> tuple[bytes, dict[str, Any]] | None:
    """Give what a message reports, ``None`` for nothing. ``fields`` are those of ``HEADERS`` that a BYE has."""
    call_id, from_tag, to_tag, _, _, method, status = signalling
    if method == b"BYE":
        said = next(iter(fields.values()), None)
        told = None if said is None else _read_header(_text(said))
        tag = to_tag if status else from_tag
    elif (message.content_type or "").partition(";")[0].strip().lower() == REPORT_TYPE:
        call_id, tag, told = _read_body(_text(message.body))
    else:
        return None
    if not told or not call_id:
        return None
    shown = {"call_id": call_id[:CALL_ID_SHOWN_MAX].decode("utf-8", "replace"), "reported": told}
    return call_id, shown | ({"tag": _text(tag)[:TAG_MAX]} if tag else {})


def _text(data: bytes | str) -> str:
    return (data if isinstance(data, str) else data.decode("utf-8", "replace"))[:TEXT_MAX]


def _read_header(value: str) -> dict[str, Any]:
    """Read ``PS=207;OS=49680;PR=314;OR=50240;PL=0;JI=6;LA=40``; some have commas between them."""
    fields: dict[str, str] = {}
    for found, _ in zip(_FIELD.finditer(value), range(FIELDS_MAX), strict=False):
        fields.setdefault(found[1].upper(), found[2])
    received = _numbers(fields, RECEIVED)
    mos = _number(fields.get("MOS", ""))
    if mos is not None and 1 <= mos <= 5:
        received["mos"] = mos
    told = {"received": received, "sent": _numbers(fields, SENT)}
    return {"by": "X-RTP-Stat", **told} if any(told.values()) else {}


def _numbers(fields: Mapping[str, str], names: Mapping[str, str]) -> dict[str, Any]:
    found = {name: _number(fields.get(field, "")) for field, name in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(text: str) -> float | int | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return None if value > NUMBER_MAX else int(text) if text.isdigit() else value


def _read_body(text: str) -> tuple[bytes, bytes, dict[str, Any]]:
    """Read a report; gives the Call-ID, no tag, and what it says. ``LocalMetrics`` are what the reporter received, and
    ``RemoteMetrics`` what its peer did (RFC 6035 §4.6.1).
    """
    told: dict[str, Any] = {"by": REPORT_TYPE.partition("/")[2]}
    call_id = ""
    into: dict[str, Any] = {}
    for line in text.splitlines()[:LINES_MAX]:
        name, _, value = line.partition(":")
        name = name.strip()
        if name == "CallID":
            call_id = value.strip()
        elif name in ("LocalAddr", "RemoteAddr"):
            told["local" if name == "LocalAddr" else "remote"] = _read_end(value)
        elif name in ("LocalMetrics", "RemoteMetrics"):
            into = told.setdefault("received" if name == "LocalMetrics" else "peer_received", {})
        else:
            _read_metrics(name, value, into)
    return call_id.encode(), b"", told if told.get("received") or told.get("peer_received") else {}


def _read_metrics(name: str, value: str, into: dict[str, Any]) -> None:
    for found, _ in zip(_FIELD.finditer(value), range(FIELDS_MAX), strict=False):
        known = METRICS.get((name, found[1]))
        number = _number(found[2])
        if known is not None and number is not None and number != UNKNOWN:
            into[known] = number


def _read_end(value: str) -> dict[str, Any]:
    """Read ``IP=192.0.2.1 PORT=5000 SSRC=1a3b5c7d``."""
    fields = {found[1].upper(): found[2] for found in _FIELD.finditer(value[:256])}
    readers: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
        ("ip", "IP", _address),
        ("port", "PORT", _number),
        ("ssrc", "SSRC", _ssrc),
    )
    found = {name: read(fields.get(field, "")) for name, field, read in readers}
    return {name: value for name, value in found.items() if value is not None}


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        return None


def _ssrc(text: str) -> str | None:
    found = _SSRC.fullmatch(text)
    return found[1].lower().zfill(8) if found else None
