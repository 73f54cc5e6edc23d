"""Frames that several of the decoder's tests start from."""

from __future__ import annotations

import struct

from otus_core.testing import packets

FRAME = packets.udp(b"hello", src="10.1.1.1", dst="10.2.2.2", src_port=5060, dst_port=5062)
FRAME6 = packets.udp(b"hello", src="2001:db8::1", dst="2001:db8::2", src_port=5060, dst_port=5062)
PACKET, PACKET6 = FRAME[14:], FRAME6[14:]


def eth(ethertype: int, body: bytes) -> bytes:
    return packets.ethernet(ethertype, body)


def llc(body: bytes) -> bytes:
    return packets.DST_MAC + packets.SRC_MAC + struct.pack("!H", len(body)) + body + b"padding"


def ipv6(next_header: int, body: bytes) -> bytes:
    return packets.ip(next_header, body, src="2001:db8::1", dst="2001:db8::2")


def label(*labels: int) -> bytes:
    return b"".join(struct.pack("!I", n << 12 | (i == len(labels) - 1) << 8 | 9) for i, n in enumerate(labels))


SLL = bytes.fromhex("0000 0001 0006 020000000001 0000")
LINKS: list[tuple[str, int, bytes]] = [
    ("ethernet", 1, FRAME),
    ("null little", 0, struct.pack("<I", 2) + PACKET),
    ("null big", 0, struct.pack(">I", 2) + PACKET),
    ("null freebsd ipv6", 0, struct.pack("<I", 28) + PACKET6),
    ("null macos ipv6", 0, struct.pack(">I", 30) + PACKET6),
    ("null linux ipv6", 0, struct.pack("<I", 10) + PACKET6),
    ("loop", 108, struct.pack(">I", 24) + PACKET6),
    ("raw", 101, PACKET),
    ("raw ipv6", 101, PACKET6),
    ("raw bsd", 12, PACKET),
    ("raw openbsd", 14, PACKET),
    ("ipv4", 228, PACKET),
    ("ipv6", 229, PACKET6),
    ("ppp", 9, b"\x00\x21" + PACKET),
    ("ppp one byte", 9, b"\x21" + PACKET),
    ("ppp address control", 9, b"\xff\x03\x00\x57" + PACKET6),
    ("ppp hdlc", 50, b"\xff\x03\x00\x21" + PACKET),
    ("ppp hdlc is cisco", 50, b"\x0f\x00\x08\x00" + PACKET),
    ("ppp ether", 51, packets.pppoe(FRAME)[14:]),
    ("pppd", 166, b"\x01\x00\x21" + PACKET),
    ("cisco hdlc", 104, b"\x0f\x00\x86\xdd" + PACKET6),
    ("frame relay", 107, bytes.fromhex("1841 03cc") + PACKET),
    ("frame relay padded snap", 107, bytes.fromhex("1841 0300 80 000000 0800") + PACKET),
    ("frame relay bridged", 107, bytes.fromhex("1841 0300 80 0080c2 0007") + FRAME),
    ("frame relay cisco", 107, bytes.fromhex("1841 0800") + PACKET),
    ("frame relay ipv6", 107, bytes.fromhex("1841 038e") + PACKET6),
    ("sll", 113, SLL[:14] + b"\x08\x00" + PACKET),
    ("sll vlan", 113, SLL[:14] + b"\x81\x00\x00\x07\x86\xdd" + PACKET6),
    ("sll llc", 113, SLL[:14] + b"\x00\x04\xaa\xaa\x03\x00\x00\x00\x08\x00" + PACKET),
    ("sll2", 276, b"\x08\x00" + bytes(18) + PACKET),
    ("atm llc", 100, bytes.fromhex("aaaa03 000000 0800") + PACKET),
    ("sunatm", 123, bytes(4) + bytes.fromhex("aaaa03 000000 0800") + PACKET),
    ("apple 1394", 138, bytes(16) + b"\x08\x00" + PACKET),
    ("ipoib", 242, bytes(40) + b"\x08\x00\x00\x00" + PACKET),
]
