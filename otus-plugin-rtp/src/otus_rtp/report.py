"""What is told of a stream: the payload of the records ``stream``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from otus_core import to_json
from otus_rtp.codecs import MEDIA, codec_of, kind_of
from otus_rtp.quality import Model, opinion, rate

PACKETS_LEAST = 50
"""Below this many packets there is nothing to be said of quality: a single lost one would weigh 2 %."""


class StreamReport:
    """One stream up to now, and the source of its labels.

    ``facts`` is what its JSON holds; a value that nobody can know is ``None``. Those of a stream that has ended are
    found out when somebody asks, which is not before a processor or a reporter wants them.
    """

    __slots__ = ("_facts", "_make")

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make
        self._facts: dict[str, Any] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """All that is told, made when it is asked for first."""
        if self._facts is None:
            self._facts = self._make()
            del self._make  # and the stream with it
        return self._facts

    def to_json(self) -> bytes:
        """Give the facts as JSON."""
        return to_json(self.facts)

    def label(self, name: str) -> str | None:
        """Give one label."""
        return self.labels().get(name)

    def labels(self) -> dict[str, str]:
        """Give the labels that apply."""
        facts = self.facts
        jitter = facts["jitter_ms"]["mean"]
        told = {
            "rtp.call_id": facts["call_id"],
            "rtp.ssrc": facts["ssrc"],
            "rtp.codec": facts["codec"],
            "rtp.match": facts["match"],
            "rtp.nat": "true" if facts["nat"] else None,
            "rtp.encrypted": "true" if facts["encrypted"] else None,
            "rtp.packets": str(facts["packets"]),
            "rtp.lost": str(facts["lost"]),
            "rtp.loss_pct": f"{facts['loss_pct']:.2f}",
            "rtp.jitter_ms": None if jitter is None else f"{jitter:.2f}",
            "rtp.mos": None if facts["mos"] is None else f"{facts['mos']:.2f}",
            "rtp.ended": facts["ended"],
        }
        return {name: text for name, text in told.items() if text}

    def to_text(self) -> str:
        """Say it in one line."""
        facts = self.facts
        jitter, mos = facts["jitter_ms"]["mean"], facts["mos"]
        parts = [
            f"RTP {facts['codec'] or 'unknown codec'}",
            f"{facts['packets']} packets in {facts['duration']:.1f} s",
            f"{facts['lost']} lost ({facts['loss_pct']:.1f} %)",
            "" if jitter is None else f"jitter {jitter:.1f} ms",
            "encrypted" if facts["encrypted"] else "",
            "" if mos is None else f"MOS {mos:.2f}",
            f"call {facts['call_id']}" if facts["call_id"] else "",
            facts["ended"] or "under way",
        ]
        return "  ".join(part for part in parts if part)

    def __repr__(self) -> str:
        return f"StreamReport({self.facts['ssrc']!r}, {self.facts['packets']} packets)"


def moment(at: int) -> str:
    """Give a time in ns since 1970 as RFC 3339 has it, to the microsecond."""
    seconds, rest = divmod(at, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def _round(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def _belongs(matches: Any) -> dict[str, Any]:
    """Tell which calls a stream belongs to, and who sends and hears it in the first of them."""
    contexts = [match.context for match in matches]
    calls = list(dict.fromkeys(str(one["call_id"]) for one in contexts if "call_id" in one))
    told: dict[str, Any] = {"call_id": calls[0] if calls else None}
    if len(calls) > 1:
        told["calls"] = calls
    sender, receiver = (matches[0].source or {}, matches[0].destination or {}) if matches else ({}, {})
    told["media"] = receiver.get("media") or sender.get("media")
    told["sender_tag"] = sender.get("tag") or receiver.get("peer_tag")
    told["receiver_tag"] = receiver.get("tag") or sender.get("peer_tag")
    return told


def _fmtp(matches: Any, payload_type: int | None) -> str | None:
    for match in matches:
        for context in (match.destination, match.source):
            found = (context or {}).get("fmtp", {}).get(payload_type)
            if found is not None:
                return str(found)
    return None


def _main_type(stream: Any) -> int | None:
    """Give the payload type of most packets, events and comfort noise left out."""
    media = [
        (packets, -number)
        for number, packets in stream.payload_types.items()
        if kind_of(codec_of(number, stream.codecs)[0]) == MEDIA
    ]
    return -max(media)[1] if media else None


def quality(codec: str, figures: Mapping[str, Any], models: Mapping[str, Model]) -> float | None:
    """Give R of a stream, ``None`` where nobody can know it."""
    model = models.get(codec.lower())
    if model is None or figures["packets"] < PACKETS_LEAST:
        return None
    unheard = figures["lost"] + (figures["discarded"] or 0)
    return rate(model, 100 * unheard / figures["expected"], figures["burst_ratio"] or 1.0)


INTERVAL_FIGURES = ("packets", "bytes", "expected", "lost", "duplicates", "reordered", "discarded")
"""What an interim record tells of its interval alone, too."""


def tell(
    stream: Any, ended: str | None, *, nat: bool, encrypted: bool, ssrc_changes: int, models: Mapping[str, Model]
) -> StreamReport:
    """Tell all that is known of a stream; ``ended`` is why it ended, ``None`` for one that is under way."""

    def make() -> dict[str, Any]:
        return _facts(stream, ended, nat=nat, encrypted=encrypted, ssrc_changes=ssrc_changes, models=models)

    if ended is not None:
        return StreamReport(make)
    facts = make()  # it goes on, so now is when to look
    return StreamReport(lambda: facts)


def call_of(matches: Any) -> str | None:
    """Give the first call that a stream belongs to."""
    for match in matches:
        if "call_id" in match.context:
            return str(match.context["call_id"])
    return None


def _facts(
    stream: Any, ended: str | None, *, nat: bool, encrypted: bool, ssrc_changes: int, models: Mapping[str, Model]
) -> dict[str, Any]:
    figures = stream.figures()
    codec, clock = stream.codec()
    main = _main_type(stream)
    capture_loss = bool(stream.capture_loss and figures["lost"])
    r = None if capture_loss else quality(codec, figures, models)
    facts: dict[str, Any] = {
        "ssrc": f"{stream.ssrc:08x}",
        **_belongs(stream.matches),
        "match": stream.match,
        "nat": nat,
        "codec": codec or None,
        "clock": clock or None,
        "payload_types": {str(number): packets for number, packets in stream.payload_types.items()},
        "fmtp": _fmtp(stream.matches, main),
        "first": moment(stream.first) if stream.first else None,
        "last": moment(stream.last) if stream.last else None,
        "duration": round((stream.last - stream.first) / 1e9, 6),
        **{name: figures[name] for name in ("packets", "bytes", "expected", "lost")},
        "loss_pct": round(figures["loss_pct"], 3),
        **{name: figures[name] for name in ("duplicates", "reordered", "seq_resets", "strays")},
        "jitter_ms": {name: _round(figures[f"jitter_{name}"]) for name in ("last", "mean", "max")},
        "delta_ms": {name: _round(figures[f"delta_{name}"]) for name in ("min", "mean", "max")},
        "ptime": _round(figures["ptime"]),
        "skew_ppm": _round(figures["skew_ppm"], 1),
        "bursts": figures["bursts"],
        "burst_ratio": _round(figures["burst_ratio"]),
        "burst_max": figures["burst_max"],
        "discarded": figures["discarded"],
        "r": _round(r, 2),
        "mos": None if r is None else round(opinion(r), 2),
        "capture_loss": capture_loss,
        "encrypted": encrypted,
        "events": stream.events or [],
        "dscp": stream.dscp,
        "ssrc_changes": ssrc_changes,
        "remote": stream.remote,
        "reported": stream.said,
        "ended": ended,
    }
    if ended is None:
        now = tuple(figures[name] or 0 for name in INTERVAL_FIGURES)
        before = stream.told_figures or (0,) * len(now)
        facts["interval"] = {name: new - old for name, new, old in zip(INTERVAL_FIGURES, now, before, strict=True)}
        stream.told_figures = now
    return facts


class RtpPacket:
    """One RTP packet: its header, and what its payload type means."""

    __slots__ = ("facts",)

    def __init__(self, packet: bytes, stream: Any) -> None:
        payload_type = packet[1] & 127
        matches = stream.matches
        call = matches[0].context.get("call_id") if matches else None
        self.facts = {
            "ssrc": f"{stream.ssrc:08x}",
            "call_id": call,
            "payload_type": payload_type,
            "codec": codec_of(payload_type, stream.codecs)[0] or None,
            "marker": bool(packet[1] >> 7),
            "sequence": int.from_bytes(packet[2:4]),
            "timestamp": int.from_bytes(packet[4:8]),
            "bytes": len(packet),
        }

    def to_json(self) -> bytes:
        """Give the facts as JSON."""
        return to_json(self.facts)

    def labels(self) -> dict[str, str]:
        """Give the labels that apply."""
        facts = self.facts
        names = ("ssrc", "call_id", "codec", "payload_type", "sequence")
        return {f"rtp.{name}": str(facts[name]) for name in names if facts[name] is not None}

    def to_text(self) -> str:
        """Say it in one line."""
        facts = self.facts
        codec = facts["codec"] or f"payload type {facts['payload_type']}"
        return f"RTP {codec}  ssrc {facts['ssrc']}  sequence {facts['sequence']}  timestamp {facts['timestamp']}"

    def __repr__(self) -> str:
        return f"RtpPacket({self.facts!r})"


class RtcpReport:
    """One datagram of RTCP. ``facts`` is what its JSON holds."""

    __slots__ = ("facts",)

    def __init__(self, call_id: str | None, encrypted: bool, packets: list[dict[str, Any]]) -> None:
        self.facts: dict[str, Any] = {"call_id": call_id, "encrypted": encrypted, "packets": packets}

    def to_json(self) -> bytes:
        """Give the facts as JSON."""
        return to_json(self.facts)

    def labels(self) -> dict[str, str]:
        """Give the labels that apply."""
        facts = self.facts
        packets = facts["packets"]
        told = {"rtp.rtcp": ",".join(one["type"] for one in packets)}
        if facts["call_id"]:
            told["rtp.call_id"] = facts["call_id"]
        if packets and packets[0].get("ssrc"):
            told["rtp.ssrc"] = packets[0]["ssrc"]
        if facts["encrypted"]:
            told["rtp.encrypted"] = "true"
        return told

    def to_text(self) -> str:
        """Say it in one line."""
        said = []
        for packet in self.facts["packets"]:
            for block in packet.get("reports", ()):
                if not block.get("plausible"):
                    continue
                jitter, rtt = block.get("jitter_ms"), block.get("rtt_ms")
                said.append(f"of {block['ssrc']}: {block['lost']} lost")
                said += [f"jitter {jitter:.1f} ms"] if jitter is not None else []
                said += [f"round trip {rtt:.0f} ms"] if rtt is not None else []
        kinds = "+".join(one["type"] for one in self.facts["packets"])
        return "  ".join([f"RTCP {kinds}", *(["encrypted"] if self.facts["encrypted"] else []), *said])

    def __repr__(self) -> str:
        return f"RtcpReport({self.facts!r})"
