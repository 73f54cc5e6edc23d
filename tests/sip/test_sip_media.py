"""The quick scan of a description gives what the full reading gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import otus_sip
from otus_sip.sessions import media_in, media_of
from tests.sip.messages import message

LINES = st.sampled_from(
    [
        "v=0",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "c=IN IP6 2001:db8::1",
        "c=IN IP4 0.0.0.0",
        "c=IN IP4 phone.example.com",
        "c=IN IP4 233.252.0.1/127",
        "m=audio 4000 RTP/AVP 0 8",
        "m=audio 4002/2 RTP/SAVP 96",
        "m=video 0 RTP/AVP 31",
        "m=image 4004 udptl t38",
        "m=audio 4006 RTP/AVP",
        "m=audio 99999 RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:8 PCMA/8000",
        "a=rtcp:4444",
        "a=rtcp:4445 IN IP4 192.0.2.9",
        "a=rtcp:0",
        "a=rtcp-mux",
        "a=sendonly",
        "x",
        "",
    ]
)


@given(st.lists(LINES, max_size=25))
def test_the_scan_agrees_with_the_full_reading(lines: list[str]) -> None:
    body = "\r\n".join(lines).encode()
    sdp = otus_sip.parse(message("INVITE sip:a@b SIP/2.0", body=body or b"v=0")).sdp
    assert sdp is not None
    assert media_in(body or b"v=0") == media_of(sdp)


@given(st.binary(max_size=300))
def test_any_bytes_are_scanned_without_harm(body: bytes) -> None:
    assert isinstance(media_in(body), tuple)
    assert isinstance(media_in(b"m=audio 4 RTP/AVP 0\n" + body), tuple)
