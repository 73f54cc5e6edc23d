"""The text as a VoIP engineer sees it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from otus_console.text import BOUNDS, TextLines
from otus_core import OutputPacket
from tests.console.written import AT, Description, Medium, Message, lines, message, request, response

OFFER = Description((Medium("audio", 49170, ("PCMU", "PCMA", "G722", "opus")), Medium("video", 0, ("H264",))))
BACK = {"src_ip": "10.0.0.20", "dst_ip": "10.0.0.1"}
TUNNEL = {"outer_src_ip": "192.0.2.1", "outer_dst_ip": "192.0.2.2", "tunnel": "vxlan", "vni": 7}

# fmt: off
SNAPSHOT = [
    "2026-02-21 10:30:00.123Z  10.0.0.1:5060      → 10.0.0.20:5060    INVITE                  a84b4c76e66710  "
    "alice@atlanta.example → bob@b.example  SDP audio 49170 PCMU,PCMA,G722,… + video off H264",
    "2026-02-21 10:30:00.133Z  10.0.0.20:5060     → 10.0.0.1:5060     180 Ringing (INVITE)    a84b4c76e66710  "
    "alice@atlanta.example → bob@b.example",
    "2026-02-21 10:30:02.123Z  10.0.0.20:5060     → 10.0.0.1:5060     486 Busy Here (INVITE)  a84b4c76e66710  "
    "alice@atlanta.example → bob@b.example  vlan 10.20  vxlan 7",
    "2026-02-22 10:30:00.123Z  [2001:db8::1]:5060 → [2001:db8::2]:53  dns                     dns.qname=example.com "
    "dns.id=1  33 bytes",
]
# fmt: on


def test_a_rendering() -> None:
    dns = OutputPacket(
        timestamp=AT + 86_400 * 10**9,
        src_ip="2001:db8::1",
        dst_ip="2001:db8::2",
        src_port=5060,
        dst_port=53,
        payload_type="dns",
        labels={"dns.qname": "example.com", "dns.id": "1"},
        raw_payload=b"x" * 33,
    )
    batch = [
        request(payload=Message(sdp=OFFER)),
        response("180", "Ringing", timestamp=AT + 10**7, **BACK),
        response("486", "Busy Here", timestamp=AT + 2 * 10**9, vlans=(10, 20), **BACK, **TUNNEL),
        dns,
    ]
    assert lines(batch) == SNAPSHOT


def test_columns_keep_what_width_they_have() -> None:
    wide = request(src_ip="2001:db8:1111:2222:3333:4444:5555:6666", dst_ip="2001:db8::1")
    first, second, third = lines([request()], [wide], [request()])
    assert first.index("INVITE") < second.index("INVITE") == third.index("INVITE")


def test_columns_do_not_grow_without_bound() -> None:
    long = {"sip.from_uri": "sip:" + "a" * 70_000, "sip.to_uri": "sip:" + "b" * 70_000, "sip.call_id": "c" * 70_000}
    told = lines([request("M" * 70_000, long), response("999", "r" * 70_000), request()])
    assert max(map(len, told)) < 26 + sum(BOUNDS) + 60


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sip:alice@example.com", "alice@example.com"),
        ("SIPS:alice@example.com:5061;transport=tls?x=y", "alice@example.com:5061"),
        ("sip:alice:secret@example.com", "alice@example.com"),
        ("sip:+49123;phone-context=x@example.com;user=phone", "+49123;phone-context=x@example.com"),
        ("sip:example.com", "example.com"),
        ("sip:[2001:db8::1]:5060", "[2001:db8::1]:5060"),
        ("tel:+49-123;phone-context=example.com", "+49-123"),
        ("mailto:alice", "mailto:alice"),
        ("sip:", "-"),
    ],
)
def test_a_uri_is_shown_without_scheme_password_and_parameters(uri: str, shown: str) -> None:
    if len(shown) > 32:
        shown = shown[:31] + "…"
    assert f"  {shown} → bob@b.example" in lines([request(labels={"sip.from_uri": uri})])[0]


@pytest.mark.parametrize(
    ("call_id", "shown"),
    [
        ("a" * 32, "a" * 32),
        ("a" * 20 + "@" + "h" * 40, "a" * 20 + "@…"),
        ("a" * 40 + "@h", "a" * 31 + "…"),
        ("a@h", "a@h"),
    ],
)
def test_a_long_call_id_loses_its_host_then_its_end(call_id: str, shown: str) -> None:
    assert f"  {shown}  alice@" in lines([request(labels={"sip.call_id": call_id})])[0]


def test_what_is_absent_is_a_dash() -> None:
    told = lines([OutputPacket(labels={"sip.method": "BYE"}, timestamp=AT)])
    assert told == ["2026-02-21 10:30:00.123Z  0.0.0.0 → 0.0.0.0  BYE  -  - → -"]


def test_a_status_may_lack_reason_and_method() -> None:
    assert "  299  " in lines([message({"sip.status_code": "299"})])[0]


def test_a_description_of_another_kind_is_only_marked() -> None:
    assert lines([request(payload=_Odd())])[0].endswith("  SDP")


class _Odd:
    sdp = "v=0"


def test_a_generic_line_says_when_it_leaves_labels_out() -> None:
    labels = {f"x.l{n}": str(n) for n in range(11)}
    assert lines([OutputPacket(payload_type="x", labels=labels)])[0].endswith("x.l7=7 … 3 more  0 bytes")


def test_local_time_is_the_default() -> None:
    made = TextLines(colour=False, utc=False)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(AT // 10**9)) + ".123"
    assert made.row(request()).time == stamp


@pytest.mark.parametrize("timestamp", [0, 1, 2**63 - 1])
def test_any_time_is_shown(timestamp: int) -> None:
    assert lines([request(timestamp=timestamp)])


HOSTILE = {
    "escape": "\x1b[2J\x1b]0;title\x07",
    "line ends": "a\r\nINVITE b\n\x0b\x0c",
    "C1": "\x9b31m\x85",
    "separators": "\u2028\u2029",
    "bidi": "\u202ealice\u202c\u2066x\u2069\u200f",
    "zero width": "\u200b\ufeff",
    "invalid UTF-8": b"\xff\xfe\xc3".decode("utf-8", "surrogateescape"),
    "lone surrogate": "\ud800",
    "NUL": "a\0b",
    "tag characters": "\U000e0041",
    "percent": "%s%n%(x)s",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_from_a_packet_reaches_the_terminal_raw(text: str) -> None:
    labels = {"sip.call_id": text, "sip.from_uri": f"sip:{text}@h", "sip.to_uri": text}
    offer = Description((Medium(text, 1, (text,)),))
    batch = [
        request(text, labels, payload=Message(sdp=offer)),
        message(labels | {"sip.status_code": text, "sip.cseq_method": text}, Message(text)),
        OutputPacket(payload_type=text, labels={text: text}),
    ]
    told = lines(batch)
    assert len(told) == 3
    assert all(line.isprintable() for line in told)


def test_a_line_is_cheap() -> None:
    """6 µs is the aim; held as a ratio to a formatted line, so that any machine will do."""
    made = TextLines(colour=True, utc=True)
    batch = [request(payload=Message()), response("200", "OK", **BACK)] * 128

    def baseline() -> None:
        for _ in batch:
            "%s  %-20s → %-20s  %s%-20s%s  %s".__mod__(("a", "b", "c", "d", "e", "f", "g")).encode()

    assert min(_cost(lambda: made.lines([made.row(o) for o in batch])) / _cost(baseline) for _ in range(9)) < 12


def _cost(call: object) -> float:
    begun = time.process_time_ns()
    call()  # type: ignore[operator]
    return time.process_time_ns() - begun


def test_a_record_tells_its_key_its_labels_and_what_it_says() -> None:
    fields: dict[str, Any] = {"payload_type": "sum", "is_record": True, "timestamp": AT, "key": "call-7"}
    nowhere = OutputPacket(**fields, src_ip=None, dst_ip=None, labels={"a.b": "c"}, payload={"n": 1, "of\x1b": [2]})
    assert lines([nowhere])[0].endswith("- → -  sum  call-7  a.b=c  n=1 of\\x1b=[2]")
    somewhere = OutputPacket(**fields, src_ip="192.0.2.1", dst_ip="192.0.2.2", src_port=5)
    assert lines([somewhere])[0].endswith("192.0.2.1:5 → 192.0.2.2  sum  call-7")
