"""The quick scan of a description gives what the full reading gives."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import otus_sip
from otus_sip.media import media_in
from otus_sip.sdp import STATIC_CODECS, Media, Sdp
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


def packed(text: str | None) -> bytes | None:
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    return None if address.is_unspecified else address.packed


def codec(media: Media) -> str:
    if not media.formats:
        return ""
    for line in media.rtpmap:
        number, _, name = line.partition(" ")
        if number == media.formats[0]:
            return name.strip()[:32]
    return STATIC_CODECS.get(media.formats[0], media.formats[0])[:32]


def media_of(sdp: Sdp) -> tuple[Any, ...]:
    """Give the same of a description that was read in full."""
    found: list[Any] = []
    for media in sdp.media:
        address, port = packed(media.address), media.port
        if address is None or not port or "RTP/" not in media.protocol:
            found.append(None)
            continue
        rtcp = (packed(media.rtcp_address) or address, media.rtcp_port or min(port + 1, 65535))
        found.append((media.media[:16], address, port, *rtcp, media.rtcp_mux, codec(media)))
    return tuple(found)


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
