"""What is kept of a session description reads as the whole."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otus_calls.brief import brief
from otus_calls.sdp import read_sdp
from tests.calls.bench import sdp

LINES = (
    b"v=0",
    b"o=- 1 1 IN IP4 192.0.2.1",
    b"c=IN IP4 192.0.2.1",
    b"c=IN IP6 2001:db8::1/127",
    b"c=",
    b"t=0 0",
    b"m=audio 4000 RTP/AVP 8 101",
    b"m=image 4002/2 udptl t38",
    b"m=video x",
    b"a=rtpmap:101 telephone-event/8000",
    b"a=rtpmap:8 PCMU",
    b"a=rtpmap:8/1 G722/8000/1",
    b"a=rtpmap:/ /",
    b"a=rtpmap",
    b"a=fmtp:101 0-15",
    b"a=sendonly",
    b"a=inactive",
    b"a=recvonly ",
    b"a=sendrecv",
    b"a",
    b"m",
    b"c",
    b"=",
    b"",
    b"a=send\x0brecv",
    b"a=s\xc2\x85m=audio 1 x 0",
    "a=sé\u2028m=audio 1 x 0".encode(),
    b"m=a\rm=audio 5 x 0",
)


@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from([b"\r\n", b"\n", b"\r", b""])), max_size=12))
def test_nothing_is_told_otherwise(lines: list[tuple[bytes, bytes]]) -> None:
    body = b"".join(line + end for line, end in lines)
    assert read_sdp(brief(body)) == read_sdp(body)


@example(b"m")
@given(st.binary(max_size=200))
def test_no_bytes_are_too_odd(body: bytes) -> None:
    assert read_sdp(brief(body)) == read_sdp(body)


@pytest.mark.parametrize("size", [4090, 4095, 4096, 4097, 8192])
def test_a_long_one_is_cut(size: int) -> None:
    assert len(brief(b"m=" + b"x" * (size - 2))) <= 4097


def test_it_is_shorter() -> None:
    body = sdp("192.0.2.1").encode()
    assert len(brief(body)) < len(body) - 40
