"""What the other side says of a stream by RTCP, as far as it can be true."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

SENT_MAX = 8
"""Sender reports of a stream that are remembered for the round trip; RTCP comes every few seconds."""
RTT_MAX = 10.0
JITTER_MAX = 10.0
"""Seconds; more is no measurement."""
SEQUENCE_AHEAD = 3000
"""How far a report may be ahead of what was captured (RFC 3550 A.1, MAX_DROPOUT)."""

Find = Callable[[str], Any]
"""Gives the stream of an SSRC that the report can be about, or ``None``."""


def take_reports(packets: Iterable[dict[str, Any]], at: int, sent_by: Find, heard_by: Find) -> list[Any]:
    """Add what RTCP packets say to the streams concerned, and to the packets what follows from both. Gives the
    streams that their sender has ended. ``at`` is the time of arrival in ns.
    """
    ended = []
    for packet in packets:
        if "ntp" in packet:
            stream = sent_by(packet["ssrc"])
            if stream is not None:
                _note_sent(stream, packet["ntp"], at)
        for block in packet.get("reports", ()):
            stream = heard_by(block["ssrc"])
            block["known"] = stream is not None
            if stream is not None:
                _take_block(stream, block, at)
        for block in packet.get("blocks", ()):
            stream = heard_by(block["ssrc"]) if block["block"] == "voip_metrics" else None
            if stream is not None:
                remote = _remote_of(stream)
                remote["voip"] = {name: value for name, value in block.items() if name not in ("block", "ssrc")}
        for ssrc in packet.get("ssrcs", ()):
            stream = sent_by(ssrc)
            if stream is not None:
                ended.append(stream)
    return ended


def _remote_of(stream: Any) -> dict[str, Any]:
    if stream.remote is None:
        stream.remote = {"reports": 0, "lost": None, "loss_pct": None, "jitter_ms": None, "rtt_ms": None, "voip": None}
    remote: dict[str, Any] = stream.remote
    return remote


def _note_sent(stream: Any, ntp: int, at: int) -> None:
    """Remember when a sender report passed, by the middle of its NTP time, which LSR repeats (RFC 3550 §6.4.1)."""
    if stream.sent is None:
        stream.sent = {}
    stream.sent[ntp >> 16 & 0xFFFFFFFF] = at
    while len(stream.sent) > SENT_MAX:
        stream.sent.pop(next(iter(stream.sent)))


def _take_block(stream: Any, block: dict[str, Any], at: int) -> None:
    clock = stream.codec()[1]
    block["jitter_ms"] = round(block["jitter"] * 1000 / clock, 3) if clock else None
    block["rtt_ms"] = _round_trip(stream, block, at)
    block["plausible"] = _plausible(stream, block, clock)
    if not block["plausible"]:
        return
    remote = _remote_of(stream)
    remote["reports"] += 1
    before, stream.reported = stream.reported, (block["highest_sequence"], block["lost"])
    if before is not None:  # RFC 3550 A.3, between two reports
        expected, lost = block["highest_sequence"] - before[0], block["lost"] - before[1]
        block["interval"] = {"expected": expected, "lost": lost} if expected > 0 else None
    remote["lost"] = block["lost"]
    expected = block["highest_sequence"] - stream.base + 1
    remote["loss_pct"] = round(100 * block["lost"] / expected, 3) if expected > 0 else None
    for name in ("jitter_ms", "rtt_ms"):
        value = block[name]
        if value is not None:
            known = remote[name] or {"last": value, "max": value}
            remote[name] = {"last": value, "max": max(known["max"], value)}


def _round_trip(stream: Any, block: dict[str, Any], at: int) -> float | None:
    """Give the round trip between here and who reports: A − LSR − DLSR (RFC 3550 §6.4.1), where A and LSR are the times
    at which both reports passed here, so that no other clock matters.
    """
    passed = (stream.sent or {}).get(block["lsr"])
    if passed is None or not block["lsr"]:
        return None
    trip = (at - passed) / 1e9 - block["dlsr"] / 65536
    return round(max(0.0, trip) * 1000, 3) if -0.002 <= trip <= RTT_MAX else None


def _plausible(stream: Any, block: dict[str, Any], clock: int) -> bool:
    """Whether a block can be about what was captured of the stream: its last number is one that was just seen, and its
    figures are no nonsense, as those of encrypted RTCP are.
    """
    ahead = (block["highest_sequence"] - stream.top) & 0xFFFF
    if SEQUENCE_AHEAD <= ahead <= 0x10000 - SEQUENCE_AHEAD:
        return False
    return bool((not clock or block["jitter"] <= JITTER_MAX * clock) and block["lost"] <= block["highest_sequence"])
