"""Parties as header fields name them (RFC 3261 §20.10, §25.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_calls.parties import read_party, user_of
from otus_calls.sdp import read_sdp


@pytest.mark.parametrize(
    ("value", "uri", "user", "display"),
    [
        ("<sip:anna@example.com>;tag=1", "sip:anna@example.com", "anna", None),
        ("sip:anna@example.com;tag=1", "sip:anna@example.com", "anna", None),
        ("Anna Bell <sip:anna@example.com>", "sip:anna@example.com", "anna", "Anna Bell"),
        ('  "Anna \\"Bell\\" <x>" <sip:anna@example.com>', "sip:anna@example.com", "anna", 'Anna "Bell" <x>'),
        ('"Anna" < sip:anna@example.com >;tag="<sip:b@c>"', "sip:anna@example.com", "anna", "Anna"),
        ('"" <sip:anna@example.com>', "sip:anna@example.com", "anna", None),
        ('"never closed <sip:anna@example.com>', "sip:anna@example.com", "anna", '"never closed'),
        ('a "b" <sip:anna@example.com>', "sip:anna@example.com", "anna", 'a "b"'),
        ("<sip:anna:secret@example.com;x=y>", "sip:anna:secret@example.com;x=y", "anna", None),
        ("<sip:anna;phone-context=x@example.com>", "sip:anna;phone-context=x@example.com", "anna", None),
        ("<sip:a@b@example.com>", "sip:a@b@example.com", "a@b", None),
        ("<sip:example.com>", "sip:example.com", None, None),
        ("<tel:+1-201-555-0123;ext=5>", "tel:+1-201-555-0123;ext=5", "+1-201-555-0123", None),
        ("<TEL:5>", "TEL:5", "5", None),
        ("<sip:anna@example.com", "sip:anna@example.com", "anna", None),
        ("anna@example.com", "anna@example.com", None, None),
        ("<>", None, None, None),
        (";tag=1", None, None, None),
    ],
)
def test_a_party_is_read(value: str, uri: str | None, user: str | None, display: str | None) -> None:
    assert read_party(value) == {"uri": uri, "user": user, "display": display}


def test_nobody_is_no_party() -> None:
    assert (read_party(None), read_party(""), user_of(None), user_of("")) == (None, None, None, None)


@given(st.text(alphabet='<>"\\;:@ asiptel\t', max_size=30))
def test_nothing_is_made_up(value: str) -> None:
    party = read_party(value)
    assert (party is None) == (value == "")
    for part in filter(None, (party or {}).values()):
        assert set(part) <= set(value)


def test_lines_of_a_description_end_as_its_grammar_says() -> None:
    first = b"c=IN IP4 192.0.2.1/127\r\nm=audio 4000/2 RTP/AVP 0 8 96\n"
    (line,) = read_sdp(first + b"a=rtpmap:96  opus/48000/2\ra=sendonly\r\nx\x0bm=video 1 x 0")
    assert line == {
        "media": "audio",
        "address": "192.0.2.1",
        "port": 4000,
        "protocol": "RTP/AVP",
        "codecs": ["PCMU", "PCMA", "opus"],
        "direction": "sendonly",
    }
