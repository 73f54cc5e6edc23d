"""Frames that several of the decoder's tests start from."""

from __future__ import annotations

import struct
from ipaddress import ip_address

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


def nflog(packet: bytes, order: str = "<", *, family: int = 2, version: int = 0) -> bytes:
    """Give a packet as ``tcpdump -i nflog`` writes it: behind a hook's attribute and a prefix that is padded to whole
    words.
    """
    attributes = ((1, b"\x08\x00\x01\x00"), (10, b"sip:\0"), (9, packet))
    padded = (struct.pack(order + "HH", 4 + len(v), k) + v + bytes(-len(v) % 4) for k, v in attributes)
    return struct.pack("!BBH", family, version, 7) + b"".join(padded)


def wireless(packet: bytes, kind: int = 0x08, flags: int = 1, *, control: int = 0, pad: int = 0) -> bytes:
    """Give an 802.11 frame around an IP packet; ``kind`` 0x88 has a QoS control field, ``control``."""
    header = bytes((kind, flags)) + bytes(2) + packets.DST_MAC * 3 + bytes(2)
    header += packets.SRC_MAC if flags & 3 == 3 else b""
    header += struct.pack("<H", control) if kind & 0x80 else b""
    header += bytes(4) if flags & 0x80 else b""
    return header + bytes(pad) + b"\xaa\xaa\x03\0\0\0" + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0") + packet


def radiotap(present: str, fields: str, frame: bytes) -> bytes:
    """Give an 802.11 frame behind a radiotap header, whose words of presence and fields are hexadecimal as they lie
    there.
    """
    rest = bytes.fromhex(present) + bytes.fromhex(fields)
    return struct.pack("<BBH", 0, 0, 4 + len(rest)) + rest + frame


def erf(kind: int, body: bytes, *, extensions: int = 0) -> bytes:
    """Give an Endace record (ERF types: 2 Ethernet, 1 HDLC, 22 and 23 IP) with so many extension headers."""
    more = b"".join(bytes((3 | (i < extensions - 1) << 7,)) + bytes(7) for i in range(extensions))
    length = 16 + len(more) + len(body)
    return bytes(8) + struct.pack("!BBHHH", kind | bool(extensions) << 7, 4, length, 0, len(body)) + more + body


def exported(payload: bytes, ports: int = 3, src: str = "10.1.1.1", dst: str = "10.2.2.2") -> bytes:
    """Give a payload as Wireshark exports it; ``ports`` 1 is SCTP, 2 TCP, 3 UDP."""
    sides = [ip_address(side).packed for side in (src, dst)]
    tags = [
        (12, b"sip\0"), (20 if len(sides[0]) == 4 else 22, sides[0]), (21 if len(sides[1]) == 4 else 23, sides[1]),
        (24, struct.pack("!I", ports)), (25, struct.pack("!I", 5060)), (26, struct.pack("!I", 5062)), (0, b""),
    ]  # fmt: skip
    return b"".join(struct.pack("!HH", kind, len(value)) + value for kind, value in tags) + payload


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
    ("nflog little", 239, nflog(PACKET)),
    ("nflog big ipv6", 239, nflog(PACKET6, ">", family=10)),
    ("enc little", 109, struct.pack("<III", 2, 7, 0x0C) + PACKET),
    ("enc big ipv6", 109, struct.pack(">III", 24, 7, 0x0C) + PACKET6),
    ("802.11", 105, wireless(PACKET)),
    ("802.11 ipv6 with four addresses", 105, wireless(PACKET6, flags=3)),
    ("802.11 qos", 105, wireless(PACKET, 0x88, control=5)),
    ("802.11 qos with ht control and four addresses", 105, wireless(PACKET, 0x88, 0x83)),
    ("radiotap without fields", 127, radiotap("00000000", "", wireless(PACKET))),
    ("radiotap, a check sequence behind", 127, radiotap("02000000", "10", wireless(PACKET) + b"\1\2\3\4")),
    ("radiotap, padded", 127, radiotap("02000000", "20", wireless(PACKET, 0x88, pad=2))),
    (
        "radiotap, timed and padded",
        127,
        radiotap("03000000", "00000000ffffffffffffffff 20", wireless(PACKET, 0x88, pad=2)),
    ),
    ("radiotap, more presence", 127, radiotap("020000a0 00000080 00000000", "20", wireless(PACKET, 0x88, pad=2))),
    ("erf ethernet", 197, erf(2, b"\0\0" + FRAME)),
    ("erf ethernet with extensions", 197, erf(2, b"\0\0" + FRAME, extensions=3)),
    ("erf coloured ethernet", 197, erf(11, b"\0\0" + FRAME)),
    ("erf ipv4", 197, erf(22, PACKET)),
    ("erf ipv6", 197, erf(23, PACKET6, extensions=1)),
    ("erf hdlc", 197, erf(1, b"\x0f\x00\x08\x00" + PACKET)),
    ("exported from udp", 252, exported(b"hello")),
    ("exported from tcp", 252, exported(b"hello", 2)),
    ("exported from sctp, ipv6", 252, exported(b"hello", 1, "2001:db8::1", "2001:db8::2")),
]
