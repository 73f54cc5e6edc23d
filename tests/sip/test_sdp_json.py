"""A description in JSON, which is written from its bytes, says what the object says, whatever the bytes are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_sip import parse

LINES = [
    b"v=0",
    b"o=- 1 1 IN IP4 192.0.2.1",
    b'o=a "b\\c" \xc3\xa9 \xff',
    b"c=IN IP4 192.0.2.1",
    b"c=IN IP6 2001:db8::1/3",
    b"c=IN IP4 \t 192.0.2.9 /127\x1c",
    b"c=IN IP4",
    b"c=IN IP4 \xc2\xa0192.0.2.1\xe2\x80\x83",
    b"m=audio 49170 RTP/AVP 0 8 101",
    b"m=video 49172/2 RTP/AVP 31",
    b"m=audio 0 RTP/AVP",
    b"m=audio 70000 RTP/AVP 0",
    b"m=audio x RTP/AVP 0",
    b"m=audio 5",
    b"m=audio\x0b5 \x1fRTP/AVP\t0\x1e8 ",
    b"m=a\xc2\xa0b 9 RTP/AVP 0",
    b"m=text 9 \xff\xfe 0\xe2\x80\x838",
    b"m=audio 0012 RTP/AVP " + b" ".join(b"%d" % n for n in range(80)),
    b"a=rtpmap:0 PCMU/8000",
    b"a=rtpmap:",
    b"a=rtpmap:8 \xff\x7f\x01",
    b"a=rtcp-mux",
    b"a=rtcp-mux2",
    b"a=rtcp:49171 IN IP4 192.0.2.1",
    b"a=rtcp:0",
    b"a=rtcp:99999999999",
    b"a=sendonly",
    b"a=inactive",
    b"a=recvonly\r",
    b"a",
    b"=",
    b"",
]


def described(body: bytes, kind: bytes = b"application/sdp") -> tuple[Any, Any]:
    """Give what the JSON says and what the object says."""
    message = parse(b"SIP/2.0 200 OK\r\nCall-ID: a\r\nContent-Type: " + kind + b"\r\n\r\n" + body)
    told, sdp = json.loads(message.to_json()).get("sdp"), message.sdp
    if sdp is None:
        return told, None
    media = []
    for medium in sdp.media:
        names = ("address", "port", "protocol", "formats", "rtpmap", "direction", "rtcp_mux")
        said = {"type": medium.media, **{name: getattr(medium, name) for name in names}}
        media.append(said | ({"rtcp_port": medium.rtcp_port} if medium.rtcp_port else {}))
    return told, {"origin": sdp.origin, "address": sdp.address, "media": media}


@settings(max_examples=500)
@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=12), st.sampled_from([b"\r\n", b"\n", b"\r\r\n"]))
def test_lines_in_any_order(lines: list[bytes], end: bytes) -> None:
    told, said = described(end.join(lines))
    assert told == said


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes(body: bytes) -> None:
    told, said = described(b"m=audio 9 RTP/AVP 0\r\n" + body)
    assert told == said


@pytest.mark.parametrize("count", [63, 64, 65, 80])
def test_as_many_media_as_are_looked_at(count: int) -> None:
    body = b"".join(b"m=audio %d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n" % n for n in range(count))
    told, said = described(body)
    assert told == said
    assert len(told["media"]) == min(count, 64)
    assert all(medium["rtpmap"] == ["0 PCMU/8000"] for medium in told["media"])


def test_one_of_several_parts() -> None:
    body = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b\r\nContent-Type: application/sdp\r\n\r\nm=audio 9 "
        b"RTP/AVP 0\r\n--b--"
    )
    told, said = described(body, b"multipart/mixed;boundary=b")
    assert told == said
    assert told["media"][0]["port"] == 9
    assert described(body.replace(b"sdp", b"xyz"), b"multipart/mixed;boundary=b") == (None, None)
