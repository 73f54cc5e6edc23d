"""Fuzz target: any order of the messages of calls, with any Call-IDs, tags and descriptions.

Nothing is raised, and calls and flows keep their bounds.

``python -m tests.fuzz.sessions_target`` runs seeds and mutations; with ``--fuzz`` and atheris installed it fuzzes.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from otus_core import FlowRegistry, Parsed
from otus_sip.config import SipConfig
from otus_sip.parser import SipParser
from tests.fuzz.harness import run
from tests.sip.messages import packet

CALLS_MAX, FLOWS_MAX = 4, 8
METHODS = (b"INVITE", b"ACK", b"BYE", b"CANCEL", b"PRACK", b"UPDATE")
STATUS = (b"100 Trying", b"183 Session Progress", b"200 OK", b"486 Busy Here")
BODIES = (
    b"",
    b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 31\r\na=rtcp-mux\r\n",
    b"v=0\r\nc=IN IP6 2001:db8::1\r\nm=audio 5000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=rtcp:5005 IN IP6 ::2\r\n",
)


@attrs.define
class Wire:
    """What the parser is wired to."""

    flows: FlowRegistry = attrs.field(factory=lambda: FlowRegistry(FLOWS_MAX))
    peers: None = None

    @staticmethod
    def counter(name: str) -> Callable[..., None]:
        return lambda n=1: None


def message(step: int, tail: bytes) -> bytes:
    """Make a message of one step: what it is, of which call and dialog, and with which body, some of it
    from ``tail``.
    """
    method = METHODS[step % 6]
    start = b"SIP/2.0 " + STATUS[step // 6 % 4] if step & 128 else method + b" sip:a@b SIP/2.0"
    call, tag = b"%d" % (step // 3 % 6) + tail[:3].hex().encode(), b"%d" % (step // 5 % 3)
    body = BODIES[step % 3] or b"v=0\r\n" + tail
    return (
        start
        + b"\r\nVia: SIP/2.0/UDP a\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>;tag="
        + tag
        + b"\r\nCall-ID: "
        + call
        + b"\r\nCSeq: %d " % (step % 4)
        + method
        + b"\r\nContent-Type: application/sdp\r\n\r\n"
        + (body if step & 64 else b"")
    )


def one_input(data: bytes) -> None:
    """Play the messages that the bytes stand for."""
    wire = Wire()
    parser = SipParser(SipConfig(max_sessions=CALLS_MAX))
    parser.wire(wire)  # type: ignore[arg-type]
    for at in range(min(len(data), 64)):
        given = packet(message(data[at], data[at + 1 : at + 200]), timestamp=10**18 + at * 10**10)
        assert parser.can_handle(given)
        parsed = parser.handle(given)
        assert isinstance(parsed, Parsed)
        labels = parsed.labels
        assert {name: parsed.payload.label(name) for name in labels} == labels
        assert parser.calls <= CALLS_MAX
        assert len(wire.flows) <= FLOWS_MAX
        assert wire.flows.endpoint_count <= FLOWS_MAX
        wire.flows._move_clock(10**18 + at * 10**12)


def seeds() -> list[bytes]:
    """Give a call with everything, its forks, and garbage between."""
    call = bytes((64 + 1, 128 + 64 + 6 + 1, 128 + 64 + 12 + 1, 1, 2, 128 + 12 + 2))
    return [
        call,
        call * 8,
        bytes(range(256)),
        call + b"m=audio 4 RTP/AVP 0\r\na=rtcp:1 IN IP4 1.2.3.4\r\na=candidate:1 1 UDP 1 1.2.3.4 9 typ host\r\n" + call,
    ]


if __name__ == "__main__":
    run(one_input, seeds())
