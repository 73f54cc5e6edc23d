"""SIP messages for tests, and packets that carry them."""

from __future__ import annotations

from typing import Any

import dpkt

from otus_core import DecodedPacket
from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import DecoderConfig
from otus_core.model.accounts import Accounts
from otus_sip.config import SipConfig
from otus_sip.parser import SipParser

HEADERS = (
    "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
    "Max-Forwards: 70",
    "From: Alice <sip:alice@example.com>;tag=a",
    "To: Bob <sip:bob@example.com>",
    "Call-ID: call-1@192.0.2.1",
)


def message(start: str = "OPTIONS sip:bob@example.com SIP/2.0", *more: str, body: bytes = b"", **changes: str) -> bytes:
    """A message; ``changes`` replace headers by their name in lower case, ``more`` are added."""
    method = changes.pop("cseq", f"1 {start.split()[0]}" if not start.startswith("SIP/") else "1 INVITE")
    lines = [start]
    for header in (*HEADERS, f"CSeq: {method}"):
        name = header.partition(":")[0]
        lines.append(changes.get(name.lower().replace("-", "_"), header))
    if body and not any(line.startswith("Content-Type") for line in more):
        lines.append("Content-Type: application/sdp")
    if not any(line.lower().startswith(("content-length", "l:")) for line in more):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, *more]).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def sdp(address: str, *media: str, session: tuple[str, ...] = ()) -> bytes:
    """A session description; ``media`` are m= lines and the attributes behind each."""
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0", *session, *media]
    return "\r\n".join(lines).encode() + b"\r\n"


_accounts = Accounts(("frames_read", *COUNTERS))


def packet(
    payload: bytes, sport: int = 5060, dport: int = 5060, tcp: bool = False, timestamp: int = 10**18
) -> DecodedPacket:
    """A decoded packet with this payload, from 192.0.2.1 to 192.0.2.2."""
    segment = dpkt.tcp.TCP(sport=sport, dport=dport, data=payload, flags=24)
    datagram = dpkt.udp.UDP(sport=sport, dport=dport, data=payload, ulen=8 + len(payload))
    transport = segment if tcp else datagram
    size = 20 + len(bytes(transport))
    ip = dpkt.ip.IP(src=b"\xc0\x00\x02\x01", dst=b"\xc0\x00\x02\x02", p=6 if tcp else 17, data=transport, len=size)
    frame = bytes(dpkt.ethernet.Ethernet(src=b"\x02" * 6, dst=b"\x04" * 6, data=ip))
    made = Decoder(_accounts, DecoderConfig()).decode_one(frame, timestamp=timestamp)
    assert made is not None
    return made


def parser(**options: Any) -> SipParser:
    """A parser that is not wired to anything."""
    return SipParser(SipConfig(**options))
