"""The parser in a task: which packets are SIP, which messages they hold, and their labels."""

from __future__ import annotations

import pytest

from otus_core import ParseError
from otus_sip.names import REPORTED as NAMES
from otus_sip.scan import METHODS
from tests.sip.messages import message, packet, parser

UNKNOWN = message("FROBNICATE sip:a@b SIP/2.0")


@pytest.mark.parametrize("method", [m for m in METHODS if m])
@pytest.mark.parametrize("port", [5060, 13434])
def test_every_method_is_sip_on_any_port(method: str, port: int) -> None:
    """Go defect 3: it knew too few methods off port 5060."""
    assert parser().can_handle(packet(message(f"{method} sip:a@b SIP/2.0"), port, port))


@pytest.mark.parametrize(
    ("payload", "on_port", "off_port"),
    [
        (UNKNOWN, True, False),
        (message("INVITE sip:a@b  SIP/2.0"), True, False),
        (message("INVITE sip:a@b SIP/1.0"), True, False),
        (b"\r\n\r\n" + message("SIP/2.0 200 OK"), True, True),
        (b"\r\n\r\n", False, False),
        (b"\r\n\r\n\r\n\r\n\r\n", False, False),
        (b"\x00\x00\x00\x00", False, False),
        (b"", False, False),
        (b"\x00\x01\x00\x08\x21\x12\xa4\x42" + b"x" * 20, False, False),
        (b"GET /sip HTTP/1.1\r\nHost: a\r\n\r\n", False, False),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", False, False),
        (b"garbage without end", False, False),
        (b"garbage\r\nwith lines\r\n\r\n", False, False),
        (b"SIP/2.0 200 OK\r\nServer: nginx\r\n\r\n<html>", True, False),
        (b"\x80\x00" + bytes(170), False, False),
    ],
    ids=[
        "unknown method",
        "two blanks",
        "SIP/1.0",
        "leading newlines",
        "keep-alive",
        "long keep-alive",
        "zeros",
        "empty",
        "STUN",
        "HTTP request",
        "HTTP response",
        "no line",
        "lines",
        "HTTP server that says SIP",
        "RTP",
    ],
)
def test_what_is_sip(payload: bytes, on_port: bool, off_port: bool) -> None:
    """Go defect 3: on port 5060 everything was SIP."""
    assert parser().can_handle(packet(payload, 40000, 5060)) is on_port
    assert parser().can_handle(packet(payload, 40000, 40001)) is off_port


def test_ports_are_configurable() -> None:
    assert not parser().can_handle(packet(UNKNOWN, 7000, 7001))
    assert parser(ports=(7001,)).can_handle(packet(UNKNOWN, 7000, 7001))


def test_a_request_s_labels() -> None:
    parsed = parser().handle(packet(message("INVITE sip:bob@example.com SIP/2.0")))
    assert parsed.labels == {
        "sip.method": "INVITE",
        "sip.cseq_method": "INVITE",
        "sip.call_id": "call-1@192.0.2.1",
        "sip.from_uri": "sip:alice@example.com",
        "sip.to_uri": "sip:bob@example.com",
        "sip.via": "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
    }


def test_a_response_s_labels() -> None:
    labels = parser().handle(packet(message("SIP/2.0 200 OK", "Via: SIP/2.0/TCP b"))).labels
    assert (labels["sip.status_code"], labels["sip.cseq_method"]) == ("200", "INVITE")
    assert "sip.method" not in labels
    assert labels["sip.via"].endswith("z9hG4bK1, SIP/2.0/TCP b")


def test_a_label_that_does_not_apply_is_absent() -> None:
    raw = b"OPTIONS sip:a@b SIP/2.0\r\nX: y\r\n\r\n"
    assert parser().handle(packet(raw)).labels == {"sip.method": "OPTIONS"}


def test_a_malformed_start_line_is_refused() -> None:
    with pytest.raises(ParseError, match="start line"):
        parser().handle(packet(message("INVITE sip:a@b  SIP/2.0")))


def test_a_message_with_a_fault_is_shown_with_it() -> None:
    parsed = parser().handle(packet(message("INVITE sip:a@b SIP/2.0", cseq="1 BYE")))
    assert parsed.payload.malformed == ["CSeq method is not the request's"]


def test_raw_is_all_that_a_datagram_has_from_the_start_line_on() -> None:
    assert parser().handle(packet(b"\r\n" + message())).raw == message()
    longer = message("OPTIONS sip:a@b SIP/2.0", "Content-Length: 1", body=b"abc")
    found = parser().handle(packet(longer))
    assert (found.raw, found.payload.body, found.payload.trailing) == (longer, b"a", b"bc")


def test_can_handle_changes_nothing() -> None:
    sip, one = parser(), packet(message())
    assert [sip.can_handle(one) for _ in range(3)] == [True] * 3
    assert sip.calls == 0


def test_a_label_is_answered_one_by_one_as_in_the_dict() -> None:
    raws = [
        message("INVITE sip:bob@example.com SIP/2.0", "Via: SIP/2.0/UDP a", "Via: SIP/2.0/UDP b"),
        message("FROB sip:bob@example.com SIP/2.0", cseq="1 FROB"),
        message("SIP/2.0 200 OK"),
        b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: a\r\n b\r\nCSeq: x\r\n\r\n",
    ]
    for raw in raws:
        found = parser().handle(packet(raw)).payload
        labels = found.labels()
        assert {name: found.label(name) for name in NAMES if found.label(name) is not None} == labels
        assert found.label("sip.nothing") is None


def test_a_folded_call_id_is_one_line_in_its_label() -> None:
    raw = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: a\r\n b\r\n\r\n"
    assert parser().handle(packet(raw)).labels["sip.call_id"] == "a b"


def test_what_was_found_out_about_a_packet_is_of_that_packet_alone() -> None:
    """The first packet is gone when the second comes, which may well lie in the same memory."""
    sip = parser()
    assert sip.can_handle(packet(message(call_id="Call-ID: first")))
    assert sip.handle(packet(message(call_id="Call-ID: second"))).labels["sip.call_id"] == "second"
