"""What the payloads ``stream``, ``rtcp`` and ``rtp`` hold, for whoever reads them: ``otus schema stream`` and the
others are made of this. What nobody can know is null.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

Moment = Annotated[str, ("format", "date-time")]
Ssrc = Annotated[str, "32 bits in hex", ("pattern", "^[0-9a-f]{8}$")]
Number = int | float


class Jitter(TypedDict):
    """Jitter in ms (RFC 3550 A.8)."""

    last: float | None
    mean: float | None
    max: float | None


class Delta(TypedDict):
    """Distance of arrivals in ms, without the one before a marker."""

    min: float | None
    mean: float | None
    max: float | None


class LastMax(TypedDict):
    """The last value, and the largest."""

    last: float
    max: float


class Voip(TypedDict):
    """VoIP metrics of an extended report (RFC 3611 §4.7)."""

    loss_pct: float
    discard_pct: float
    burst_density_pct: float
    gap_density_pct: float
    burst_ms: int
    gap_ms: int
    round_trip_ms: int | None
    end_system_ms: int | None
    signal_dbm: int | None
    noise_dbm: int | None
    echo_loss_db: int | None
    gmin: int
    r: int | None
    external_r: int | None
    mos_lq: float | None
    mos_cq: float | None


class Remote(TypedDict):
    """What the receiver says of the stream by RTCP."""

    reports: int
    lost: int | None
    loss_pct: float | None
    jitter_ms: LastMax | None
    rtt_ms: LastMax | None
    voip: Voip | None


class Figures(TypedDict):
    """What a party says by SIP that it received, or sent."""

    by: Annotated[str | None, "how it said so: X-RTP-Stat, or vq-rtcpxr (RFC 6035)"]
    packets: NotRequired[Number]
    bytes: NotRequired[Number]
    lost: NotRequired[Number]
    discarded: NotRequired[Number]
    jitter_ms: NotRequired[Number]
    delay_ms: NotRequired[Number]
    mos: NotRequired[Number]
    loss_pct: NotRequired[Number]
    discard_pct: NotRequired[Number]
    rtt_ms: NotRequired[Number]
    r: NotRequired[Number]
    r_conversation: NotRequired[Number]
    mos_conversation: NotRequired[Number]


class Reported(TypedDict):
    """What the parties say of the stream by SIP."""

    receiver: NotRequired[Figures]
    sender: NotRequired[Figures]


class Event(TypedDict):
    """A digit or another event (RFC 4733); digits are masked unless the task says otherwise."""

    time: Moment
    event: int | None
    digit: str | None
    duration_ms: int | None


class Interval(TypedDict):
    """What the interval of an interim record alone has."""

    packets: int
    bytes: int
    expected: int
    lost: int
    duplicates: int
    reordered: int
    discarded: int


class StreamPayload(TypedDict):
    """An RTP stream, at its end, or under way where interim records are asked for."""

    ssrc: Ssrc
    call_id: str | None
    calls: NotRequired[Annotated[list[str], "all calls that it belongs to, if there are several"]]
    media: str | None
    sender_tag: str | None
    receiver_tag: str | None
    match: Annotated[str | None, "how it was found"]
    nat: bool
    codec: str | None
    clock: Annotated[int | None, "Hz"]
    payload_types: Annotated[dict[str, int], "packets of each payload type"]
    fmtp: str | None
    first: Moment | None
    last: Moment | None
    duration: Annotated[float, "seconds"]
    packets: Annotated[int, "without duplicates"]
    bytes: int
    expected: int
    lost: int
    loss_pct: float
    duplicates: int
    reordered: int
    seq_resets: int
    strays: int
    jitter_ms: Jitter
    delta_ms: Delta
    ptime: Annotated[float | None, "ms"]
    skew_ppm: float | None
    bursts: int
    burst_ratio: Annotated[float | None, "BurstR of G.107"]
    burst_max: int
    discarded: Annotated[int | None, "packets that a play-out buffer would have discarded"]
    r: Annotated[float | None, "R of the E-model (G.107)"]
    mos: float | None
    capture_loss: Annotated[bool, "what is lost may have been lost by the capture"]
    encrypted: bool
    events: list[Event]
    dscp: int | None
    ssrc_changes: int
    remote: Remote | None
    reported: Reported | None
    ended: Annotated[str | None, "why it ended; null while it is under way"]
    interval: NotRequired[Annotated[Interval, "in interim records"]]


class Expected(TypedDict):
    """Between two report blocks."""

    expected: int
    lost: int


class Block(TypedDict):
    """A report block (RFC 3550 §6.4.1)."""

    ssrc: Ssrc
    fraction_lost: float
    lost: int
    highest_sequence: int
    jitter: int
    lsr: int
    dlsr: int
    known: NotRequired[Annotated[bool, "whether the stream was seen"]]
    jitter_ms: NotRequired[float | None]
    rtt_ms: NotRequired[float | None]
    plausible: NotRequired[bool]
    interval: NotRequired[Expected | None]


class RtcpPacket(TypedDict):
    """One packet of a compound one."""

    type: Annotated[str, "SR, RR, SDES, BYE, APP, RTPFB, PSFB, XR, or a number"]
    ssrc: NotRequired[Ssrc]
    ntp: NotRequired[int]
    rtp_timestamp: NotRequired[int]
    packets: NotRequired[int]
    bytes: NotRequired[int]
    reports: NotRequired[list[Block]]
    chunks: NotRequired[Annotated[list[dict[str, str]], "SDES: ssrc, and items such as cname"]]
    ssrcs: NotRequired[Annotated[list[Ssrc], "BYE: which streams have ended"]]
    reason: NotRequired[str]
    blocks: NotRequired[Annotated[list[dict[str, Any]], "XR: blocks 4 to 7 of RFC 3611, `block` naming each"]]


class RtcpPayload(TypedDict):
    """A datagram of RTCP."""

    call_id: str | None
    encrypted: Annotated[bool, "SRTCP: only what it leaves in clear is told"]
    packets: list[RtcpPacket]


class RtpPayload(TypedDict):
    """An RTP packet, for tasks that ask for each."""

    ssrc: Ssrc
    call_id: str | None
    payload_type: int
    codec: str | None
    marker: bool
    sequence: int
    timestamp: Annotated[int, "of the RTP clock"]
    bytes: int
