"""What the payloads ``call``, ``registration`` and ``kpi`` hold, for whoever reads them: ``otus schema call`` and the
others are made of this. What is not known is null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from otus_calls.names import REGISTRATION_STATES, STATES

Moment = Annotated[str | None, ("format", "date-time")]
Seconds = Annotated[float | None, "seconds"]
Rfc6076 = Annotated[float | None, "seconds, RFC 6076"]
Share = Annotated[float | None, "per cent, RFC 6076"]
Side = Literal["caller", "callee"]
State = Annotated[str, ("enum", STATES)]
RegistrationState = Annotated[str, ("enum", REGISTRATION_STATES)]
Ended = Literal["bye", "final", "timeout", "lost", "evicted", "finish"]


class Party(TypedDict):
    """A party, as a header field names it."""

    uri: str | None
    user: str | None
    display: str | None


class End(TypedDict):
    """Where a party signals from."""

    ip: str | None
    port: int
    transport: str
    vlan: int | None
    agent: str | None


class Auth(TypedDict):
    """Challenges (RFC 3261 §22), and what came of them."""

    challenges: int
    accepted: bool
    rejected: int


Hold = TypedDict("Hold", {"by": Side | None, "from": Moment, "to": Moment})


class Transfer(TypedDict):
    """A REFER (RFC 3515)."""

    at: Moment
    by: Side | None
    cseq: int
    refer_to: str | None
    attended: bool
    code: int | None


class Dtmf(TypedDict):
    """Digits in the media, and INFO requests."""

    rtp: int
    info: int


class SessionTimer(TypedDict):
    """A session timer (RFC 4028)."""

    expires: int
    refresher: str | None
    refreshes: int
    last: Moment


_IcmpFrom = TypedDict("_IcmpFrom", {"from": str})


class Icmp(_IcmpFrom):
    """An ICMP error about a message of the call."""

    at: Moment
    error: str
    type: int
    code: int
    src: str
    sport: int
    dst: str
    dport: int
    method: str | None
    status: int | None


class Hop(TypedDict):
    """Who sent the INVITE on."""

    src: str
    sport: int
    dst: str
    dport: int
    transport: str
    delay_ms: float


class Branch(TypedDict):
    """A dialog that the INVITE made."""

    to_tag: str
    src: str
    sport: int
    ring: Moment
    answer: Moment
    code: int | None


class Leg(TypedDict):
    """Another call that belongs to this one."""

    call_id: str
    from_tag: str
    score: int
    reasons: list[str]
    role: str | None
    media: list[str]


class Jitter(TypedDict):
    """Jitter in ms."""

    last: float | None
    mean: float | None
    max: float | None


class Media(TypedDict):
    """A stream, as the record ``stream`` tells of it, with its sender in ``by``."""

    by: Side | None
    src: str
    sport: int
    dst: str
    dport: int
    ssrc: str
    media: str | None
    codec: str | None
    match: str | None
    first: Moment
    last: Moment
    duration: float | None
    packets: int | None
    expected: int | None
    lost: int | None
    loss_pct: float | None
    jitter_ms: Jitter | None
    discarded: int | None
    burst_max: int | None
    r: float | None
    mos: float | None
    capture_loss: bool | None
    encrypted: bool | None
    remote: dict[str, Any] | None
    ended: str | None


class Flag(TypedDict):
    """What is wrong, and what says so."""

    flag: str
    evidence: str


class Offered(TypedDict):
    """A media line of a session description."""

    media: str
    address: str | None
    port: int
    protocol: str
    codecs: list[str]
    direction: str


class Message(TypedDict):
    """A message of the call."""

    time_ns: int
    src: str
    sport: int
    dst: str
    dport: int
    transport: str
    by: Side
    method: str
    status: int | None
    reason: str | None
    cseq: int
    to_tag: str | None
    branch: str | None
    retransmission: bool
    duplicate: bool
    size: int
    reason_header: str | None
    refer_to: str | None
    sdp: list[Offered] | None


_CallFrom = TypedDict("_CallFrom", {"from": Party | None})


class CallPayload(_CallFrom):
    """A call."""

    version: int
    call_id: str
    from_tag: str
    start: Moment
    ring: Moment
    answer: Moment
    end: Moment
    to: Party | None
    request_uri: str | None
    pai: Party | None
    diversion: Party | None
    caller: End
    callee: End
    state: State
    code: int | None
    reason: str | None
    q850: int | None
    reason_header: str | None
    warning: str | None
    pdd: Seconds
    setup: Seconds
    talk: Seconds
    total: Seconds
    srd: Rfc6076
    sdd: Rfc6076
    sdt: Rfc6076
    hangup_by: Side | None
    post_bye: int
    attempts: int
    auth: Auth | None
    retransmissions: int
    duplicates: int
    reinvites: int
    hold: list[Hold]
    transfers: list[Transfer]
    t38: bool
    dtmf: Dtmf
    session_timer: SessionTimer | None
    icmp: list[Icmp]
    hops: list[Hop]
    branches: list[Branch]
    legs: list[Leg]
    media: list[Media]
    mos: float | None
    flags: list[Flag]
    partial: bool
    ended: Annotated[Ended | None, "why it was reported; null while it is under way"]
    messages_cut: int
    messages: list[Message]


class RegistrationPayload(TypedDict):
    """What one contact of one address of record did at one registrar."""

    version: int
    aor: str
    contact: str | None
    registrar: str
    source: str
    user_agent: str | None
    call_id: str
    state: RegistrationState
    code: int | None
    first: Moment
    last: Moment
    registered_at: Moment
    requested_expires: int | None
    expires: int | None
    expires_at: Moment
    attempts: int
    successes: int
    refreshes: int
    challenges: int
    failures: int
    retransmissions: int
    duplicates: int
    rrd: Rfc6076
    rrd_max: Seconds
    ira: Share
    wrong_password: bool
    scan: bool
    ended: str | None


class Counts(TypedDict):
    """How many of each kind."""

    attempts: int
    redirected: int
    challenged: int
    established: int
    effective: int
    ineffective: int
    completed: int
    user_busy: int
    no_answer: int
    declined: int
    cancelled: int
    talks: int
    delays: int
    disconnects: int
    registrations: int
    registrations_ineffective: int


class KpiPayload(TypedDict):
    """Figures of the calls and registrations of an interval."""

    version: int
    begin: Moment
    end: Moment
    part: Annotated[bool, "the interval is not whole"]
    attempts: int
    ser: Share
    seer: Share
    isa: Share
    scr: Share
    asr: Share
    ner: Share
    acd: Seconds
    srd: Rfc6076
    sdd: Rfc6076
    registrations: int
    ira: Share
    counts: Counts
    talk_seconds: float
