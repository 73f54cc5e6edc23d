"""The media of a call: its streams, who sends them, and how they sounded."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from otus_calls.session import CALLEE, CALLER, Session, session_of

if TYPE_CHECKING:
    from otus_calls.replay import Outcome

STREAM_FIELDS = (
    "ssrc",
    "media",
    "codec",
    "match",
    "first",
    "last",
    "duration",
    "packets",
    "expected",
    "lost",
    "loss_pct",
    "jitter_ms",
    "discarded",
    "burst_max",
    "r",
    "mos",
    "capture_loss",
    "encrypted",
    "remote",
    "sender_tag",
    "receiver_tag",
    "ended",
)
"""What is taken over from the record of a stream."""
EVENTS_MAX = 128
"""Telephone events of a call that its record lists: digits of a long menu, and not what a forged stream may send."""


def stream_of(facts: dict[str, Any], ends: tuple[str, int, str, int]) -> dict[str, Any]:
    """Give what a call keeps of the record of a stream between these addresses and ports."""
    kept = {name: facts.get(name) for name in STREAM_FIELDS}
    kept |= dict(zip(("src", "sport", "dst", "dport"), ends, strict=True))
    kept["events"] = list(facts.get("events") or ())[:EVENTS_MAX]
    return kept


def add_stream(streams: list[dict[str, Any]], stream: dict[str, Any], most: int) -> None:
    """Add a stream, in the place of what was said of it before."""
    for n, one in enumerate(streams):
        if all(one[name] == stream[name] for name in ("ssrc", "src", "sport", "dst", "dport", "first")):
            streams[n] = stream
            return
    if len(streams) < most:
        streams.append(stream)


def join_media(streams: list[dict[str, Any]], from_tag: str, session: Session) -> list[dict[str, Any]]:
    """Give the streams in the order of their beginning, each with who sends it: ``by`` is ``caller``, ``callee``, or
    ``None`` where that cannot be told.
    """
    joined = []
    ordered = sorted(streams, key=lambda one: (one["first"] or "", one["ssrc"]))
    for stream, by in zip(ordered, _senders(ordered, from_tag, session), strict=True):
        kept = {name: value for name, value in stream.items() if name not in ("sender_tag", "receiver_tag")}
        joined.append({"by": by, **kept})
    return joined


def senders_of(streams: list[dict[str, Any]], from_tag: str, outcome: Outcome) -> list[str]:
    """Give the parties, ``caller`` and ``callee``, that send media in a call."""
    return sorted({by for by in _senders(streams, from_tag, session_of(outcome)) if by is not None})


def _senders(streams: list[dict[str, Any]], from_tag: str, session: Session) -> list[str | None]:
    """Tell who sends each stream, ``None`` where that cannot be told."""
    caller, callee = session.listens(CALLER), session.listens(CALLEE)
    return [_sender(one, from_tag, caller, callee) for one in streams]


def _sender(
    stream: dict[str, Any], from_tag: str, caller: set[tuple[str, int]], callee: set[tuple[str, int]]
) -> str | None:
    """Tell who sends a stream. ``caller`` and ``callee`` are where each said it listens."""
    to = (stream["dst"], stream["dport"])
    if to in caller and to not in callee:
        return CALLEE
    if to in callee and to not in caller:
        return CALLER
    if from_tag in (stream["sender_tag"], stream["receiver_tag"]):
        return CALLER if stream["sender_tag"] == from_tag else CALLEE
    return None


def lower_mos(streams: list[dict[str, Any]]) -> float | None:
    """Give the mean opinion score of the direction that sounded worse; of each, the mean over its packets."""
    scores = []
    for side in (CALLER, CALLEE, None):
        rated = [(one["mos"], one["packets"] or 0) for one in streams if one["by"] == side and one["mos"] is not None]
        packets = sum(count for _, count in rated)
        if packets:
            scores.append(sum(mos * count for mos, count in rated) / packets)
    return round(min(scores), 2) if scores else None


def time_of(text: str | None) -> int:
    """Give a time of a record, RFC 3339 with microseconds, in ns since 1970; 0 for none."""
    if not text:
        return 0
    at = datetime.fromisoformat(text)
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000_000 + at.microsecond * 1000
