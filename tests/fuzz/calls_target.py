"""Fuzz target: messages of calls and registrations in any order, with any text in their fields, as they are kept.

Three bytes before each message say what it is, of which call, and how long the text is that stands in its fields.
Nothing is raised, bounds hold, and what is told is JSON.

``python -m tests.fuzz.calls_target`` runs seeds and mutations; with ``--fuzz`` and atheris installed it fuzzes.
"""

from __future__ import annotations

from contextlib import suppress

from otus_core import ParseError
from tests.calls.bench import CALLEE, CALLER, PROXY, Bench, sdp
from tests.fuzz.harness import run

CALLS_MAX, MESSAGES_MAX, STEPS_MAX = 4, 16, 128
STARTS = (
    *(b"INVITE", b"ACK", b"BYE", b"CANCEL", b"PRACK", b"UPDATE", b"REFER", b"REGISTER"),
    *(b"100 Trying", b"180 Ringing", b"183 Progress", b"200 OK", b"302 Moved", b"401 Unauthorized"),
    *(b"487 Terminated", b"503 Unavailable"),
)
WAYS = ((CALLER, PROXY), (PROXY, CALLER), (PROXY, CALLEE), (CALLEE, PROXY))


def message(step: bytes, text: bytes) -> bytes:
    """Make a message with ``text`` in its fields, or in its body."""
    what, whose = step[0], step[1]
    kind = STARTS[what & 15]
    method = kind if b" " not in kind else STARTS[whose >> 5]
    start = method + b" sip:" + text[:40] + b"@b SIP/2.0" if kind is method else b"SIP/2.0 " + kind + text[:20]
    call, branch, number = b"%d" % (whose & 7), b"%d" % (whose >> 3 & 3), b"%d" % (what >> 4 & 3)
    body = sdp("192.0.2.1", 4000 + what).encode() + text if what & 64 else b""
    lines = (
        start,
        b"Via: SIP/2.0/UDP a;branch=z9hG4bK" + branch,
        b"From: " + text[40:80] + b" <sip:" + text[:300] + b"@example.com>;tag=f" + branch,
        b"To: <sip:b@c>" + (b";tag=" + text[:8].hex().encode() if what & 128 else b""),
        b"Call-ID: " + call + (text[:64].hex().encode() if whose & 16 else b""),
        b"CSeq: " + number + b" " + method,
        b"Contact: <sip:" + text[8:40] + b"@192.0.2.1>;expires=60",
        b"User-Agent: " + text,
        b"Reason: Q.850;cause=16;text=" + text[:100],
        b"X-Call-ID: " + b"%d" % (whose >> 5),
        b"Content-Type: application/sdp",
        b"Content-Length: %d" % len(body),
        b"",
        body,
    )
    return b"\r\n".join(lines)


def one_input(data: bytes) -> None:
    """Give the messages that the bytes stand for to a processor, or to two that share the calls."""
    bench = Bench(1 + len(data) % 2, max_calls=CALLS_MAX, max_messages=MESSAGES_MAX, max_registrations=CALLS_MAX, kpi=1)
    for _ in range(STEPS_MAX):
        if len(data) < 3:
            break
        step, size = data[:3], data[2] * 4
        raw, data = message(step, data[3 : 3 + size]), data[3 + size :]
        bench.at += 0.01 * (step[1] & 63)
        with suppress(ParseError):
            bench.give_raw(raw, WAYS[step[1] & 3])
        if step[2] & 3 == 0:
            bench.tick(step[2])
    bench.finish()
    for record in bench.records:
        record.payload.to_json()
        assert record.payload.to_text()
    for call in bench.calls():
        assert call["version"] == 1
        assert len(call["messages"]) <= MESSAGES_MAX


def seeds() -> list[bytes]:
    """Give a call with everything, registrations, and garbage between."""
    invite, trying, ok, ack, bye = (0x40, 0x08), (0x08, 0x09), (0xCB, 0x09), (0x81, 0x08), (0x92, 0x08)
    whole = b"".join(
        bytes((*step, 10)) + b"alice caller %d " % n * 3 for n, step in enumerate((invite, trying, ok, ack, bye))
    )
    register = bytes((0x07, 0xE8, 4)) + b"bob, a telephone" + bytes((0x0B, 0xE9, 4)) + b"bob, a telephone"
    return [whole, whole * 8, register * 6, bytes(range(256)) * 4, whole + register + bytes(range(128, 256))]


if __name__ == "__main__":
    run(one_input, seeds())
