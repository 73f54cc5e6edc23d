"""Fuzz target: any bytes as a SIP message.

Every field can be read, JSON and packed labels say the same as the fields, and nothing but ParseError is raised.

``python -m tests.fuzz.sip_target`` runs seeds and mutations; with ``--fuzz`` and atheris installed it fuzzes.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import otus_sip
from otus_core import OutputPacket, ParseError, encode_json
from otus_sip.config import SipConfig
from otus_sip.parser import SipParser
from tests.fuzz.harness import run
from tests.sip.messages import packet

FIELDS = (
    *(
        "body",
        "call_id",
        "contact",
        "content_length",
        "content_type",
        "cseq",
        "from_",
        "headers",
        "is_request",
        "malformed",
    ),
    *("method", "parts", "raw", "reason", "request_uri", "sdp", "status_code", "to", "version", "via"),
)
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0 8 101\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=rtcp:49171 IN IP4 192.0.2.1\r\na=rtcp-mux\r\na=sendonly\r\n"
)
INVITE = (
    b"INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport, SIP/2.0/TCP "
    b"[2001:db8::1];branch=z9hG4bK2\r\n"
    b'From: "Alice \\"A\\"" <sip:alice@example.org;x=1?h=2>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: '
    b"a@b\r\nCSeq: 1 INVITE\r\n"
    b"Contact: <sip:alice@192.0.2.1>;q=0.5, *\r\nSubject: one\r\n two\r\nMax-Forwards: 70\r\nContent-Type: "
    b"application/sdp\r\n"
)


PARSER = SipParser(SipConfig())


def one_input(data: bytes) -> None:
    """Parse as the library does and as a task does, which keeps malformed messages, and read everything."""
    with suppress(ParseError):
        read(otus_sip.parse(data))
    given = packet(data[:60_000])
    if PARSER.can_handle(given):
        with suppress(ParseError):
            read(PARSER.handle(given).payload)  # type: ignore[union-attr]


def read(message: otus_sip.SipMessage) -> None:
    """Read every field, in every form."""
    for name in FIELDS:
        getattr(message, name)
    whole = json.loads(encode_json(OutputPacket(labels=message.labels(), payload=message, raw_payload=message.raw)))
    assert (whole["labels"], base64.b64decode(whole["raw_payload"])) == (message.labels(), message.raw)
    told = whole["payload"]
    assert told["headers"] == [list(pair) for pair in message.headers]
    assert told.get("malformed", []) == message.malformed
    assert unpacked(message.packed_labels()) == message.labels()


def unpacked(packed: bytes) -> dict[str, str]:
    """Read labels as ``otus_core.packed_labels`` has them."""
    labels = {}
    while packed:
        name, text = (int.from_bytes(packed[at : at + 4], "little") for at in (0, 4))
        labels[packed[8 : 8 + name].decode()] = packed[8 + name : 8 + name + text].decode()
        packed = packed[8 + name + text :]
    return labels


def seeds() -> list[bytes]:
    """Give a request with everything in it, a response, and the ends of lines that people send."""
    body = INVITE + b"Content-Length: %d\r\n\r\n" % len(SDP) + SDP
    multipart = (
        INVITE.replace(b"application/sdp", b"multipart/mixed;boundary=b")
        + b"\r\n--b\r\nContent-Type: application/sdp\r\n\r\n"
        + SDP
        + b"--b--"
    )
    response = (
        b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1\r\nf: sip:a@b;tag=1\r\nt: sip:b@c;tag=2\r\ni: "
        b"x\r\nCSeq: 1 INVITE\r\nl: 0\r\n\r\n"
    )
    return [body, multipart, response, body.replace(b"\r\n", b"\n"), response.replace(b"\r\n", b"\r")]


if __name__ == "__main__":
    run(one_input, seeds())
