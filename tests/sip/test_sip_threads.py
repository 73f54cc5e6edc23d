"""Messages are encoded by whoever likes, in whatever thread: a reporter may well do it beside the event loop."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import otus_sip
from otus_core import OutputPacket, encode_json
from tests.sip.messages import message

BODY = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 4000 RTP/AVP 0\u00a08\r\na=rtpmap:0 é\u00a0PCMU/8000\r\n"
).encode()
"""A description that is not all ASCII: its words are split by Python, where another thread may get its turn."""


def test_messages_that_are_encoded_at_once_do_not_mix() -> None:
    sizes = (1, 3000, 20, 700)
    found = [
        otus_sip.parse(message("INVITE sip:b@c SIP/2.0", f"Subject: é{'x' * size}\r\n folded", body=BODY))
        for size in sizes
    ]

    def encoded(one: otus_sip.SipMessage) -> tuple[bytes, bytes]:
        return encode_json(OutputPacket(labels={"l": "é"}, payload=one, raw_payload=one.raw)), one.packed_labels()

    expected = [encoded(one) for one in found]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(found)) as pool:
            for answers in pool.map(lambda at: [encoded(found[at]) for _ in range(500)], range(len(found))):
                assert set(answers) <= set(expected)
                assert len(set(answers)) == 1
    finally:
        sys.setswitchinterval(before)
