"""What filters ask of texts: header fields and bodies, patterns, numbers, and text without regard to case."""

from __future__ import annotations

import time
from typing import Any

import pytest

import otus_sip
from otus_core import OutputPacket
from otus_filter import FilterSyntaxError, compile_expression

RAW = (
    "INVITE sip:+4940987654321@carrier.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    "Max-Forwards: 70\r\nf: <sip:+49-30-5551212;ext=7@carrier.example>;tag=1\r\nTo: <tel:+4940987654321>\r\n"
    "Call-ID: 1@h\r\nCSeq: 1 INVITE\r\nX-Site: Nord Süd\r\nX-Site: zweite\r\ns: Gruß\r\n"
    "Content-Type: application/sdp\r\nContent-Length: 45\r\n\r\nv=0\r\nm=audio 4000 RTP/AVP 0\r\na=X-Marke:BLAU\r\n"
).encode()


def invite(**fields: Any) -> OutputPacket:
    payload = otus_sip.parse(RAW)
    return OutputPacket(**({"payload_type": "sip", "payload": payload, "labels": payload.labels()} | fields))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip.header('X-Site') == 'Nord Süd'", True),
        ("sip.header('x-site') icontains 'nord sÜD'", True),
        ("sip.header('From') contains '5551212'", True),
        ("sip.header('Subject') == 'Gruß'", True),
        ("sip.header('X-None') != 'x'", False),
        ("not sip.header('X-None') == 'x'", True),
        ("sip.header('Max-Forwards') < 71", True),
        ("dns.header('X-Site') == 'Nord Süd'", False),
        ("body contains 'm=audio'", True),
        ("body contains 'M=AUDIO'", False),
        ("body icontains 'marke:blau'", True),
        ("body matches '(?m)^m=audio [0-9]+ RTP/AVP'", True),
        ("sip.method matches 'INV|BYE'", True),
        ("sip.method matches '^NV'", False),
        ("sip.missing matches '.*'", False),
        ("sip.from_uri tail '5551212'", True),
        ("sip.from_uri tail '555-12 12'", True),
        ("sip.from_uri tail '55512'", False),
        ("sip.from_uri tail '0305551212'", False),
        ("sip.to_uri tail '987654321'", True),
        ("sip.call_id tail '1'", True),
        ("src_ip matches '^10\\\\.1\\\\.'", True),
    ],
)
def test_it_holds_or_not(text: str, expected: bool) -> None:
    assert compile_expression(text)(invite(src_ip="10.1.2.3", dst_ip="10.1.2.4")) is expected


@pytest.mark.parametrize(
    ("text", "offset", "reason"),
    [
        ("sip.method matches 'a(b'", 19, "not a pattern of RE2: missing ): a(b"),
        ("sip.method matches '(?=a)'", 19, "invalid perl operator: (?="),
        ("sip.method matches '(a{900}){900}'", 19, "not a pattern of RE2"),
        ("sip.method matches '" + "a" * 513 + "'", 19, "at most 512 characters"),
        ("sip.method matches x.y", 19, "matches needs text in quotes, found x.y"),
        ("a.b == 1 and sip.from_user tail '12a'", 32, "1 to 32 digits in quotes"),
        ("sip.from_user tail 5551212", 19, "tail needs text in quotes, found a number"),
        ("src_port icontains '5'", 9, "src_port is a number"),
        ("sip.header(X-Site) == 'x'", 11, "header field's name in quotes, as in sip.header('X-Name')"),
        ("sip.header('') == 'x'", 11, "header field's name in quotes"),
        ("sip.header('X' == 'x'", 15, "expected ) after the header field's name"),
        ("bdoy contains 'x'", 0, "perhaps body"),
    ],
)
def test_what_is_refused_and_where(text: str, offset: int, reason: str) -> None:
    with pytest.raises(FilterSyntaxError) as caught:
        compile_expression(text)
    assert (caught.value.offset, reason in caught.value.reason) == (offset, True), caught.value.reason


def test_a_pattern_takes_linear_time() -> None:
    """One that is exponential elsewhere, on a long text: it would not end."""
    condition = compile_expression("x.text matches '(a|a|aa)*(a|aa)*b'")
    begun = time.process_time()
    assert not condition(OutputPacket(labels={"x.text": "a" * 60_000}))
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("payload", [None, {"body": b"x"}, object(), "text"], ids=lambda it: type(it).__name__)
def test_payloads_of_others_have_neither_headers_nor_body(payload: object) -> None:
    made = OutputPacket(payload_type="sip", payload=payload)
    assert not compile_expression("sip.header('To') contains '' or body contains ''")(made)


def test_a_fault_of_a_payload_is_not_hidden() -> None:
    class Odd:
        def header(self, name: str) -> int:
            return 5

    with pytest.raises(TypeError, match="a header field is int, not text"):
        compile_expression("x.header('To') == '5'")(OutputPacket(payload_type="x", payload=Odd()))
