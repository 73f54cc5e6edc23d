"""SIP messages as a library: what is found in them, and what is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

import otus_sip
from otus_core import ParseError
from tests.sip.messages import message, packet, parser, sdp


def test_a_request() -> None:
    found = otus_sip.parse(
        message("INVITE sip:bob@example.com SIP/2.0", body=sdp("192.0.2.1", "m=audio 4000 RTP/AVP 0"))
    )
    assert (found.is_request, found.method, found.request_uri) == (True, "INVITE", "sip:bob@example.com")
    assert (found.status_code, found.reason) == (None, None)
    assert found.call_id == "call-1@192.0.2.1"
    assert found.cseq == (1, "INVITE")
    assert (found.from_.display.strip(), found.from_.uri, found.from_.tag) == ("Alice", "sip:alice@example.com", "a")
    assert (found.to.uri, found.to.tag) == ("sip:bob@example.com", None)
    assert found.via == ["SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1"]
    assert found.content_type == "application/sdp"
    assert found.content_length == len(found.body)
    assert found.malformed == []


def test_a_response() -> None:
    found = otus_sip.parse(message("SIP/2.0 486 Busy Here"))
    assert (found.is_request, found.method, found.status_code, found.reason) == (False, None, 486, "Busy Here")


def test_a_reason_may_be_empty_or_utf_8() -> None:
    assert otus_sip.parse(message("SIP/2.0 100 ")).reason == ""
    assert otus_sip.parse(message("SIP/2.0 200 = 2**3 * 5**2 но сто")).reason == "= 2**3 * 5**2 но сто"


@pytest.mark.parametrize(
    "start",
    [
        "INVITE  sip:bob@example.com SIP/2.0",
        "INVITE sip:bob@example.com  SIP/2.0",
        "INVITE sip:bob@example.com SIP/2.0 ",
        "INVITE sip:bob@example.com SIP/1.0",
        "INVITE SIP/2.0",
        "INVITE sip:bob@example.com SIP/7.0",
        "SIP/2.0 4294967301 better not break the receiver",
        "SIP/2.0 99 low",
        "SIP/2.0 700 high",
        "SIP/2.0 20x no",
        "GET / HTTP/1.1",
        "\x00\x01\x00\x00",
    ],
)
def test_a_bad_start_line_is_refused(start: str) -> None:
    with pytest.raises(ParseError):
        otus_sip.parse(message(start, cseq="1 INVITE"))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("v", "Via"),
        ("f", "From"),
        ("t", "To"),
        ("i", "Call-ID"),
        ("m", "Contact"),
        ("l", "Content-Length"),
        ("c", "Content-Type"),
        ("k", "Supported"),
        ("s", "Subject"),
    ],
)
def test_compact_forms_are_the_long_ones(written: str, name: str) -> None:
    raw = f"OPTIONS sip:a@b SIP/2.0\r\n{written.upper()} : 17\r\n{name.swapcase()}: 18\r\n\r\n".encode()
    try:
        found = otus_sip.parse(raw)
    except ParseError:  # 17 is no address
        found = None
    if found is not None:
        assert found.header_all(name) == ["17", "18"]
        assert found.header(written) == "17"


def test_folded_lines_are_one_value() -> None:
    found = otus_sip.parse(
        message("OPTIONS sip:a@b SIP/2.0", "Subject: one,\r\n two\r\n\t  three", cseq="1\r\n OPTIONS")
    )
    assert found.header("subject") == "one, two three"
    assert found.cseq == (1, "OPTIONS")


def test_commas_split_lists_but_not_quotes_and_brackets() -> None:
    found = otus_sip.parse(
        message(
            "OPTIONS sip:a@b SIP/2.0",
            'Contact: "a, \\"b\\"" <sip:x,y@h>;q=1, <sip:z@h>',
            via="Via: SIP/2.0/UDP a, SIP/2.0/TCP b",
        )
    )
    assert [c.uri for c in found.contact] == ["sip:x,y@h", "sip:z@h"]
    assert found.contact[0].display == 'a, "b"'
    assert found.via == ["SIP/2.0/UDP a", "SIP/2.0/TCP b"]


@pytest.mark.parametrize(
    ("value", "uri", "tag"),
    [
        ("sip:a@b;tag=1", "sip:a@b", "1"),
        ("<sip:a@b;user=phone>;tag=2", "sip:a@b;user=phone", "2"),
        ('"x<y>" <sip:a@b> ; TAG = 3', "sip:a@b", "3"),
        ("caller<sip:a@b>;tag=4;x", "sip:a@b", "4"),
        ("  sip:a@b  ", "sip:a@b", None),
        ("<sip:a@b>;xtag=5", "sip:a@b", None),
    ],
)
def test_a_party_has_a_uri_and_a_tag(value: str, uri: str, tag: str | None) -> None:
    found = otus_sip.parse(message(from_="", **{"from": f"From: {value}"}))
    assert (found.from_.uri, found.from_.tag) == (uri, tag)


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("Content-Length: -1", "no number"),
        ("Content-Length: 4294967328", "no number|beyond"),
        ("Content-Length: +5", "no number"),
        ("Content-Length: ٥", "no number"),
        ("Content-Length: 10", "beyond"),
        ("CSeq: 4294967296 OPTIONS", None),
        ("Date: Fri, 01 Jan 2010 16:00:00 EST", "GMT"),
        ('Contact: "x <sip:a@b>', "unterminated"),
        ("Contact: <sip:a@b", "not closed"),
        ("Contact: <sip:a@b>;;x", "empty parameter"),
        ("no colon here", "colon"),
        ("Contact: a b <sip:a@ b>", "blank"),
        ("Contact: Bell, Alexander <sip:a@b>", "address without a scheme"),
    ],
)
def test_a_fault_of_syntax_is_refused_and_named(header: str, fault: str | None) -> None:
    raw = message("OPTIONS sip:a@b SIP/2.0", header)
    if fault is None:
        assert otus_sip.parse(raw).malformed == []
        return
    with pytest.raises(ParseError, match=fault):
        otus_sip.parse(raw)


@pytest.mark.parametrize(("hops", "good"), [("0", True), ("255", True), ("256", False), ("-1", False), ("x", False)])
def test_max_forwards_has_a_range(hops: str, good: bool) -> None:
    """RFC 3261 §20.22: 0 to 255."""
    raw = message(max_forwards=f"Max-Forwards: {hops}")
    if good:
        assert otus_sip.parse(raw).malformed == []
        return
    with pytest.raises(ParseError, match="Max-Forwards out of range"):
        otus_sip.parse(raw)


@pytest.mark.parametrize(("length", "good"), [(1, True), (64, True), (65, False), (5000, False)])
def test_a_method_has_a_length(length: int, good: bool) -> None:
    method = "M" * length
    raw = message(f"{method} sip:bob@example.com SIP/2.0")
    if good:
        assert otus_sip.parse(raw).method == method
        return
    with pytest.raises(ParseError, match="start line"):
        otus_sip.parse(raw)


@pytest.mark.parametrize("number", [0, 1, 2**31 - 1])
def test_a_cseq_number_is_below_two_to_the_31(number: int) -> None:
    """RFC 3261 §8.1.1.5; what is above stands below."""
    assert otus_sip.parse(message(cseq=f"{number} OPTIONS")).cseq == (number, "OPTIONS")


@pytest.mark.parametrize(
    ("cseq", "fault"),
    [
        ("2147483648 OPTIONS", "out of range"),
        ("4294967295 OPTIONS", "out of range"),
        ("4294967296 OPTIONS", "out of range"),
        ("36893488147419103232 OPTIONS", "out of range"),
        ("1 INVITE", "not the request's"),
        ("OPTIONS", "out of range|malformed"),
        ("1", "malformed"),
    ],
)
def test_a_bad_cseq_is_refused(cseq: str, fault: str) -> None:
    with pytest.raises(ParseError, match=fault):
        otus_sip.parse(message(cseq=cseq))


def test_go_defect_2_a_message_cut_after_a_header_line() -> None:
    whole = message()
    for end in range(len(whole)):
        if whole[:end].endswith(b"\r\n"):
            with contextlib.suppress(ParseError):
                otus_sip.parse(whole[:end]).to_json()


def test_go_defect_2_a_body_after_bare_newlines() -> None:
    found = otus_sip.parse(message("OPTIONS sip:a@b SIP/2.0", body=b"body").replace(b"\r\n", b"\n"))
    assert found.body == b"body"


def test_what_content_length_leaves_over_is_not_the_message() -> None:
    found = otus_sip.parse(message("OPTIONS sip:a@b SIP/2.0", "Content-Length: 2", body=b"abcdef"))
    assert found.body == b"ab"
    assert found.trailing == b"cdef"


def test_leading_newlines_are_ignored() -> None:
    assert otus_sip.parse(b"\r\n\r\n\n" + message()).raw == message()


def test_a_session_description() -> None:
    body = sdp(
        "192.0.2.1",
        "m=audio 4000/2 RTP/AVP 0 96",
        "a=rtpmap:96 opus/48000/2",
        "a=rtcp:4007 IN IP4 192.0.2.9",
        "a=candidate:1 1 UDP 1 10.0.0.1 1 typ host",
        "a=sendonly",
        "m=video 0 RTP/SAVPF 97",
        "c=IN IP6 2001:db8::1",
        "a=rtcp-mux",
        session=("a=inactive",),
    )
    audio, video = otus_sip.parse(message("INVITE sip:a@b SIP/2.0", body=body)).sdp.media
    assert (audio.media, audio.port, audio.address, audio.rtcp_port, audio.rtcp_address) == (
        "audio",
        4000,
        "192.0.2.1",
        4007,
        "192.0.2.9",
    )
    assert (audio.codecs, audio.direction, audio.rtcp_mux) == (["PCMU", "opus"], "sendonly", False)
    assert (video.port, video.address, video.direction, video.rtcp_mux) == (0, "2001:db8::1", "inactive", True)


def test_sdp_in_a_multipart_body() -> None:
    inner = sdp("192.0.2.1", "m=audio 4000 RTP/AVP 8")
    body = (
        b"--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n"
        + inner
        + b"\r\n--b1--\r\n"
    )
    found = otus_sip.parse(message("INVITE sip:a@b SIP/2.0", 'Content-Type: multipart/mixed;boundary="b1"', body=body))
    assert [kind for kind, _ in found.parts] == ["text/plain", "application/sdp"]
    assert found.sdp.media[0].codecs == ["PCMA"]


@pytest.mark.parametrize("data", [5, "INVITE", None], ids=["number", "text", "None"])
def test_what_is_no_bytes_is_refused(data: Any) -> None:
    with pytest.raises(TypeError):
        otus_sip.parse(data)


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_fields_are_found_wherever_their_lines_begin(end: str) -> None:
    """Lines are looked for 64 bytes at a time: each of these stands at every place of such a step once."""
    for length in range(2 * 64 + 2):
        lines = [
            "OPTIONS sip:bob@example.com SIP/2.0",
            "P" * (length + 1) + ":x",
            "Subject: a:b" + "y" * length,
            "\t folded: on",
            "To : <sip:bob@example.com>",
            ":none",
            "Call-ID:" + "z" * (length // 2),
        ]
        whole = end.join(lines)
        expected = [
            ("P" * (length + 1), "x"),
            ("Subject", "a:b" + "y" * length + " folded: on"),
            ("To", "<sip:bob@example.com>"),
            ("Call-ID", "z" * (length // 2)),
        ]
        for text, body in ((whole, ""), (whole + end, ""), (whole + end + end, ""), (whole + end + end, "a: b\r\n")):
            with pytest.raises(ParseError, match=r"without a name|no empty line"):
                otus_sip.parse((text + body).encode())
            found = parser().handle(packet((text + body).replace(end + ":none", "").encode())).payload
            assert found.headers == expected, (length, text)
            assert found.body == body.encode()
