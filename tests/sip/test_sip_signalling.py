"""What a message says of its call is the same, whether its addresses have been read before or not."""

from __future__ import annotations

import pytest

from tests.sip.messages import packet, parser


@pytest.mark.parametrize(
    ("party", "tag"),
    [
        ("<sip:a@b>;tag=t1", b"t1"),
        ('"A <x>;tag=no" <sip:a@b>;tag=abcdefgh-1.2~3;x=y', b"abcdefgh-1.2~3"),
        ('"A \\" <x>;tag=no" <sip:a@b>;tag=t1', b"t1"),
        ('A "quoted" <sip:a@b>;tag=t1', b"t1"),
        ("A B <sip:a@b;tag=no>;tag=t1 ;x", b"t1"),
        ("<sip:a@b>; TAG = t1", b"t1"),
        ("<sip:a@b>;x=y;tag=abcdefghijk", b"abcdefghijk"),
        ("<sip:a@b>;tag=abcdefghijklmnop,<sip:c@d>;tag=no", b"abcdefghijklmnop"),
        ("sip:a@b;tag=t1", b"t1"),
        ("<sip:a@b>;tag=", b""),
        ("<sip:a@b>", b""),
        ("<sip:a@b", b""),
        ("<<sip:a@b>>;tag=t1", b"t1"),
    ],
)
def test_tags_are_found_however_an_address_is_written(party: str, tag: bytes) -> None:
    raw = (
        f"BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK-abcdefgh;rport\r\nFrom: {party}\r\nTo: {party}\r\n"
        "Call-ID: c1\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    made = parser().handle(packet(raw)).payload
    unread = made.packed_signalling()
    assert made.from_ is not None or not tag  # reads the address
    assert made.to is not None or not tag
    assert unread == made.packed_signalling()
    assert b"c1" + tag + tag + b"z9hG4bK-abcdefgh" + b"BYE" + b"sip:a@b" in unread
