"""The text as a VoIP engineer sees it."""

from __future__ import annotations

import itertools
import re
import time
from typing import Any
from unicodedata import east_asian_width

import pytest

from otus_core import OutputPacket, TextLines
from tests.console.written import AT, DATE, lines, message, request, response, taken, written

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0 8 97 98\r\n"
    "a=rtpmap:97 G722/8000\r\na=rtpmap:98 opus/48000\r\nm=video 0 RTP/AVP 31\r\n"
)
BACK = {"src_ip": "10.0.0.20", "dst_ip": "10.0.0.1"}
TUNNEL = {"outer_src_ip": "192.0.2.1", "outer_dst_ip": "192.0.2.2", "tunnel": "vxlan", "vni": 7}
LONG_V6 = {"src_ip": "2001:db8:1111:2222:3333:4444:5555:6666", "dst_ip": "2001:db8::1"}

DNS = OutputPacket(
    timestamp=AT + 86_400 * 10**9,
    src_ip="2001:db8::1",
    dst_ip="2001:db8::2",
    src_port=5060,
    dst_port=53,
    payload_type="dns",
    labels={"dns.qname": "example.com", "dns.id": "1"},
    raw_payload=b"x" * 33,
)
BATCH = [
    request(sdp=OFFER),
    response("180", "Ringing", timestamp=AT + 10**7, **BACK),
    response("480", "Temporarily Unavailable", timestamp=AT + 2 * 10**9, vlans=(10, 20), **BACK, **TUNNEL),
    DNS,
]

# fmt: off
PIPED = [
    "2026-02-21 UTC",
    "10:30:00.123  10.0.0.1:5060         → 10.0.0.20:5060         INVITE                  "
    "alice@atlanta.example → bob@b.example  audio 49170 PCMU,PCMA,G722,… + video off H261  a84b4c76e66710",
    "10:30:00.133  10.0.0.20:5060        → 10.0.0.1:5060          180 Ringing (INVITE)    "
    "alice@atlanta.example → bob@b.example  a84b4c76e66710",
    "10:30:02.123  10.0.0.20:5060        → 10.0.0.1:5060          480 Temporarily Unavailable (INVITE)  "
    "alice@atlanta.example → bob@b.example  a84b4c76e66710  vlan 10.20  vxlan 7",
    "2026-02-22 UTC",
    "10:30:00.123  [2001:db8::1]:5060    → [2001:db8::2]:53       dns                     "
    "dns.qname=example.com dns.id=1  33 bytes",
]
WIDE_80 = [
    "2026-02-21 UTC",
    "10:30:00.123  10.0.0.1:5060 → 10.0.0.20:5060  INVITE  alice → bob  a84b4c76e667…",
    "10:30:00.133  10.0.0.20:5060 → 10.0.0.1:5060   180 Ringing (INVITE)  alice → bob",
    "10:30:02.123  10.0.0.20:5060 → 10.0.0.1:5060   480 Temporarily Unavailable",
    "2026-02-22 UTC",
    "10:30:00.123  [2001…8::1]:5060 → [2001:db8::2]:53  dns  dns.qname=example.com d…",
]
# fmt: on


def test_a_rendering_in_a_pipe() -> None:
    assert written(BATCH)[0].decode().splitlines() == PIPED


def test_a_rendering_on_a_terminal() -> None:
    assert written(BATCH, columns=80)[0].decode().splitlines() == WIDE_80


def test_a_reason_is_whole_where_there_is_room_for_it() -> None:
    reasons = ["Call/Transaction Does Not Exist", "Temporarily Unavailable", "Not Acceptable Here"]
    for columns in (80, 100, 120):
        told = lines([response("480", reason) for reason in reasons], columns=columns)
        assert [reason in line for line, reason in zip(told, reasons, strict=True)] == [True] * 3


@pytest.mark.parametrize("columns", [*range(16, 60), 80, 100, 120, 140, 200])
def test_nothing_is_wider_than_the_terminal(columns: int) -> None:
    headers = {"From": "<sip:" + "a" * 300 + "@" + "h" * 300 + ">;tag=1", "Call_ID": "c" * 300}
    wide = {"From": "<sip:" + "漢字" * 40 + "@h>;tag=1", "Call_ID": "\u202e" * 30}
    batch = [
        request("INVITE", OFFER, headers),
        request("INVITE", OFFER, wide, **LONG_V6),
        response("486", "漢字" * 60),
        response("486", "r" * 300, src_port=65535),
        response("480", "Temporarily Unavailable", vlans=(4000, 4001), **LONG_V6, **TUNNEL),
        message(None, labels={"a.b": "v" * 300, "a.c": "漢" * 99}, payload_type="p" * 48),
        DNS,
    ]
    for line in lines(batch, columns=columns):
        assert sum(2 if east_asian_width(c) in "WF" else 1 for c in line) <= columns
        assert line.isprintable()


def test_in_a_pipe_nothing_is_cut() -> None:
    headers = {"From": "<sip:" + "a" * 300 + "@" + "h" * 300 + ">;tag=1", "Call_ID": "c" * 300}
    (line,) = lines([request(headers=headers)])
    assert all(part in line for part in ("a" * 300 + "@" + "h" * 300, "bob@b.example", "c" * 300))
    (line,) = lines([message(None, labels={f"x.l{n}": "v" * 99 for n in range(11)}, payload_type="x")])
    assert line.count("v" * 99) == 11 and line.endswith("33 bytes")


def test_columns_of_a_pipe_stay_where_they_are() -> None:
    told = lines([request()], [request(src_ip="192.168.100.200", src_port=65535)], [request()])
    assert len({line.index("INVITE") for line in told}) == 1


def test_columns_of_a_terminal_keep_what_width_they_have() -> None:
    first, second, third = lines([request()], [request(**LONG_V6)], [request()], columns=140)
    assert first.index("INVITE") < second.index("INVITE") == third.index("INVITE")


def test_a_terminal_may_change_its_width() -> None:
    made = TextLines(columns=120, utc=True)
    assert b"a84b4c76e6" in made.encode([request()], [])
    made.columns = 60
    assert max(map(len, made.encode(BATCH, []).decode().splitlines())) <= 60


def test_a_host_that_does_not_fit_keeps_its_beginning_its_end_and_its_port() -> None:
    (line,) = lines([request(**LONG_V6)], columns=100)
    assert re.search(r"  \[2001:db…\S*:6666\]:5060 → \[2001:db8::1\]:5060 ", line)


def test_the_date_stands_once_above_the_lines_of_a_day() -> None:
    hours = [AT + n * 3600 * 10**9 for n in range(30)]
    told = written([request(timestamp=at) for at in hours[:10]], [request(timestamp=at) for at in hours[10:]])[0]
    dates = [line for line in told.decode().splitlines() if re.fullmatch(r"\d{4}-\d\d-\d\d UTC", line)]
    assert dates == [DATE, "2026-02-22 UTC"]


def test_lines_of_several_workers_have_their_dates_themselves() -> None:
    made = TextLines(utc=True, dated=True).encode([request(), DNS], []).decode().splitlines()
    assert [line[:23] for line in made] == ["2026-02-21 10:30:00.123", "2026-02-22 10:30:00.123"]


def test_local_time_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        told = TextLines().encode([request()], []).decode().splitlines()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert told[0] == "2026-02-21 +05:45" and told[1].startswith("16:15:00.123  ")


def test_the_hour_that_comes_twice_has_a_date_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        autumn = 1_792_890_000 * 10**9  # 2026-10-25 01:00 UTC: clocks go back
        told = TextLines().encode([request(timestamp=autumn - 1), request(timestamp=autumn)], []).decode().splitlines()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [told[0], told[2]] == ["2026-10-25 +02:00", "2026-10-25 +01:00"]


@pytest.mark.parametrize("timestamp", [-1, 0, 1, 2**63 - 1])
def test_any_time_is_shown(timestamp: int) -> None:
    assert lines([request(timestamp=timestamp)])


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
    ],
)
def test_a_uri_is_shown_without_scheme_password_and_parameters(uri: str, shown: str) -> None:
    assert f"  {shown} → bob@b.example" in lines([request(headers={"From": f"<{uri}>;tag=1"})])[0]


@pytest.mark.parametrize(
    ("call_id", "shown"),
    [
        ("a" * 32, "a" * 32),
        ("a" * 20 + "@" + "h" * 40, "a" * 20 + "@…"),
        ("a" * 40 + "@h", "a" * 31 + "…"),
    ],
)
def test_a_long_call_id_loses_its_host_then_its_end(call_id: str, shown: str) -> None:
    columns = 12 + 2 + 13 + 3 + 14 + 2 + 22 + 2 + len("alice → bob") + 2 + 32
    assert lines([request("BYE", headers={"Call_ID": call_id})], columns=columns)[0].endswith(f"alice → bob  {shown}")


def test_a_part_of_a_port_is_never_shown() -> None:
    ports = [re.search(r"audio (\d*)", lines([request(sdp=OFFER)], columns=n)[0]) for n in range(60, 140)]
    assert {found[1] for found in ports if found} == {"49170"}


def test_a_fault_of_a_message_is_told() -> None:
    (line,) = lines([message(taken("BYE sip:b SIP/2.0", "BYE", Max_Forwards="many"))])
    assert "  BYE                     malformed: " in line and "  alice@atlanta.example → bob@b.example" in line


HOSTILE = {
    "escape": "\x1b[2J\x1b]0;title\x07",
    "C1": "\x9b31m\x85",
    "separators": "\u2028\u2029",
    "bidi": "\u202ealice\u202c\u2066x\u2069\u200f",
    "zero width": "\u200b\ufeff",
    "invalid UTF-8": b"\xff\xfe\xc3".decode("utf-8", "surrogateescape"),
    "tab": "a\tb\t\t",
    "NUL": "a\0b",
    "tag characters": "\U000e0041",
    "percent": "%s%n%(x)s",
    "backslash": "a\\x1b",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("columns", [0, 60, 120])
def test_nothing_from_a_packet_reaches_the_terminal_raw(text: str, columns: int) -> None:
    headers: dict[str, Any] = {"Call_ID": text, "From": f"<sip:{text}@h>;tag=1", "To": f"<sip:h{text}>"}
    sdp = OFFER.replace("audio", text.replace(" ", "")).replace("G722", text)
    batch = [
        message(taken(b"INVITE sip:b SIP/2.0", "INVITE", sdp, **headers)),
        message(taken(b"SIP/2.0 486 " + text.encode("utf-8", "surrogateescape"), "INVITE", sdp, **headers)),
        message(None, payload_type=text, labels={text: text}),
        message(_Says(text)),
    ]
    told = lines(batch, columns=columns)
    assert len(told) == 4
    assert all(line.isprintable() for line in told)


class _Says:
    def __init__(self, text: str) -> None:
        self.text = text

    def to_text(self) -> str:
        return self.text


class _Fits:
    """A payload of somebody else's that knows how to fit."""

    def to_line(self, columns: int) -> bytes:
        return f"QUERY\t{columns} columns \x1b[2J \x9b".encode()


class _GivesText:
    def to_line(self, columns: int) -> str:
        return "text"


def test_a_payload_may_say_how_it_fits() -> None:
    assert lines([message(_Fits())], columns=100)[0].endswith("QUERY                   54 columns \\x1b[2J \\x9b")
    assert lines([message(_Fits())])[0].endswith("QUERY                   0 columns \\x1b[2J \\x9b")


def test_a_payload_whose_line_is_no_bytes_fails_alone() -> None:
    failed: list[tuple[int, Exception]] = []
    assert TextLines(utc=True).encode([message(_GivesText()), request()], failed).count(b"\n") == 2
    assert [(place, str(error)) for place, error in failed] == [
        (0, "tests.console.test_text._GivesText.to_line() gave str, not bytes")
    ]


def test_a_record_tells_its_key_its_labels_and_what_it_says() -> None:
    fields: dict[str, Any] = {"payload_type": "sum", "is_record": True, "timestamp": AT, "key": "call-7"}
    nowhere = OutputPacket(**fields, src_ip=None, dst_ip=None, labels={"a.b": "c"}, payload={"n": 1, "of\x1b": [2]})
    told = lines([nowhere])[0]
    assert re.search(r"  - +→ - +sum +call-7  a.b=c  n=1 of\\x1b=\[2\]$", told)


def test_a_terminal_is_told_a_few_labels_and_how_many_more_there_are() -> None:
    labels = {f"x.l{n}": str(n) for n in range(11)}
    assert "x.l7=7 … 3 more" in lines([message(None, payload_type="x", labels=labels)], columns=200)[0]


def test_columns_in_all_their_widths_hold_the_same_message() -> None:
    """Whoever makes the terminal wider sees no less."""
    shown = [lines([request(sdp=OFFER)], columns=n)[0] for n in range(90, 240)]
    for narrow, wide in itertools.pairwise(shown):
        assert ("49170" in narrow) <= ("49170" in wide) and ("alice@" in narrow) <= ("alice@" in wide)
