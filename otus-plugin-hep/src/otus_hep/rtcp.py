"""RTCP as Homer expects it: one JSON object of a compound packet, with the field names that heplify gives them."""

from __future__ import annotations

from typing import Any

from otus_core import to_json

SENDER_REPORT, RECEIVER_REPORT, SDES, XR = 200, 201, 202, 207
"""RFC 3550 §12.1, RFC 3611 §2."""
VOIP_METRICS = 7
"""Block type of RFC 3611 §4.7."""
BLOCK = 24
"""Bytes of a report block (RFC 3550 §6.4.1)."""
PACKETS_MAX = 64
"""Of one compound packet; each has four bytes at the least, and a datagram would have room for 16,000."""
SENDER = ("ntp_timestamp_sec", "ntp_timestamp_usec", "rtp_timestamp", "packets", "octets")
XR_NUMBERS = (
    ("fraction_lost", 12, 1),
    ("fraction_discard", 13, 1),
    ("burst_density", 14, 1),
    ("gap_density", 15, 1),
    ("burst_duration", 16, 2),
    ("gap_duration", 18, 2),
    ("round_trip_delay", 20, 2),
    ("end_system_delay", 22, 2),
)
"""Of RFC 3611 §4.7, with their places behind the four bytes of the packet's own header."""


def homer_json(data: bytes, *, encrypted: bool = False) -> bytes:
    """Give the JSON of a compound packet; what does not fit its lengths ends it.

    ``ntp_timestamp_usec`` is the lower half of the NTP time as it is in the packet, and ``packets_lost`` has no sign:
    Homer reads both like this. Of what is ``encrypted``, only what is in clear is there (RFC 3711 §3.4).
    """
    if encrypted:
        clear = {"type": data[1], "report_count": data[0] & 31, "ssrc": _number(data, 4)} if len(data) >= 8 else {}
        return to_json({**clear, "encrypted": True})
    told: dict[str, Any] = {
        "sender_information": dict.fromkeys(SENDER, 0),
        "ssrc": 0,
        "type": 0,
        "report_count": 0,
        "report_blocks": [],
        "report_blocks_xr": {"type": 0, "id": 0, **{name: 0 for name, _, _ in XR_NUMBERS}},
        "sdes_ssrc": 0,
    }
    at = 0
    for _ in range(PACKETS_MAX):
        if len(data) - at < 8 or data[at] >> 6 != 2:
            break
        size = 4 + 4 * int.from_bytes(data[at + 2 : at + 4])
        _read(told, data[at + 1], data[at] & 31, data[at + 4 : at + size])
        at += size
    return to_json(told)


def _number(data: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at : at + size])


def _read(told: dict[str, Any], kind: int, count: int, body: bytes) -> None:
    """Put one packet of the compound into what is told; ``body`` is what follows its first four bytes."""
    if kind in (SENDER_REPORT, RECEIVER_REPORT):
        told["type"], told["report_count"], told["ssrc"] = kind, count, _number(body, 0)
        at = 4
        if kind == SENDER_REPORT and len(body) >= 24:
            told["sender_information"] = {name: _number(body, 4 + 4 * i) for i, name in enumerate(SENDER)}
            at = 24
        told["report_blocks"] += [_block(body, n) for n in range(at, min(at + count * BLOCK, len(body) - 23), BLOCK)]
    elif kind == SDES:
        told["sdes_ssrc"] = _number(body, 0)
        told["type"] = told["type"] or kind
    elif kind == XR and len(body) >= 8:
        told["ssrc"] = told["ssrc"] or _number(body, 0)
        told["type"] = told["type"] or kind
        told["report_blocks_xr"]["type"] = body[4]
        if body[4] == VOIP_METRICS and len(body) >= 24:
            told["report_blocks_xr"]["id"] = _number(body, 8)
            told["report_blocks_xr"].update({name: _number(body, at, size) for name, at, size in XR_NUMBERS})


def _block(body: bytes, at: int) -> dict[str, int]:
    """Read a report block (RFC 3550 §6.4.1)."""
    return {
        "source_ssrc": _number(body, at),
        "fraction_lost": body[at + 4],
        "packets_lost": _number(body, at + 5, 3),
        "highest_seq_no": _number(body, at + 8),
        "ia_jitter": _number(body, at + 12),
        "lsr": _number(body, at + 16),
        "dlsr": _number(body, at + 20),
    }
