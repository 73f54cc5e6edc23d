"""Frames for tests: UDP and TCP packets, tags, tunnels, fragments; and the packet that Otus makes of a frame.

Each function gives the bytes of an Ethernet frame. Those that wrap take such a frame:
``vxlan(vlan(udp(b"..."), 7), vni=42)``.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

import dpkt

from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import TUNNELS, DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.model.packet import DecodedPacket

SRC_MAC = bytes.fromhex("020000000001")
DST_MAC = bytes.fromhex("020000000002")
SRC, DST = "192.0.2.1", "198.51.100.2"
"""Documentation addresses (RFC 5737), which every function defaults to."""
TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)


def udp(
    payload: bytes,
    *,
    src: str = SRC,
    dst: str = DST,
    src_port: int = 5060,
    dst_port: int = 5060,
    ttl: int = 64,
    identification: int = 0,
) -> bytes:
    """Give a UDP packet, over IPv4 or IPv6 as the addresses are."""
    segment = dpkt.udp.UDP(sport=src_port, dport=dst_port, ulen=8 + len(payload), data=payload)
    return ip(17, bytes(segment), src=src, dst=dst, ttl=ttl, identification=identification)


def tcp(
    payload: bytes,
    *,
    src: str = SRC,
    dst: str = DST,
    src_port: int = 5060,
    dst_port: int = 5060,
    seq: int = 1,
    ack: int = 1,
    flags: int = 0x18,
    ttl: int = 64,
) -> bytes:
    """Give a TCP segment, by default with PSH and ACK set."""
    segment = dpkt.tcp.TCP(sport=src_port, dport=dst_port, seq=seq, ack=ack, flags=flags, data=payload)
    return ip(6, bytes(segment), src=src, dst=dst, ttl=ttl)


def ip(protocol: int, body: bytes, *, src: str = SRC, dst: str = DST, ttl: int = 64, identification: int = 0) -> bytes:
    """Give an IP packet with any ``body``; IPv4 or IPv6 as the addresses are."""
    source, destination = ip_address(src), ip_address(dst)
    if source.version != destination.version:
        raise ValueError(f"{src} and {dst} are not of one IP version")
    if source.version == 6:
        header = struct.pack("!IHBB", 6 << 28, len(body), protocol, ttl) + source.packed + destination.packed
        return ethernet(0x86DD, header + body)
    datagram = dpkt.ip.IP(
        src=source.packed, dst=destination.packed, p=protocol, ttl=ttl, id=identification, len=20 + len(body), data=body
    )
    return ethernet(0x0800, bytes(datagram))


def ethernet(ethertype: int, body: bytes) -> bytes:
    """Give a frame with any ``body``."""
    return DST_MAC + SRC_MAC + struct.pack("!H", ethertype) + body


def vlan(frame: bytes, *ids: int, ethertype: int = 0x8100) -> bytes:
    """Put VLAN tags into a frame, outermost first."""
    tags = b"".join(struct.pack("!HH", ethertype, identifier) for identifier in ids)
    return frame[:12] + tags + frame[12:]


def vxlan(frame: bytes, *, vni: int = 1, src: str = SRC, dst: str = DST, port: int = 4789) -> bytes:
    """Put a frame into VXLAN."""
    return udp(struct.pack("!II", 0x08000000, vni << 8) + frame, src=src, dst=dst, src_port=49152, dst_port=port)


def geneve(frame: bytes, *, vni: int = 1, options: bytes = b"", src: str = SRC, dst: str = DST) -> bytes:
    """Put a frame into Geneve; the options' length is a multiple of four."""
    header = struct.pack("!BBHI", len(options) // 4, 0, 0x6558, vni << 8) + options
    return udp(header + frame, src=src, dst=dst, src_port=49152, dst_port=6081)


def gre(frame: bytes, *, key: int | None = None, sequence: int | None = None, src: str = SRC, dst: str = DST) -> bytes:
    """Put the IP packet of a frame into GRE."""
    flags = (0x2000 if key is not None else 0) | (0x1000 if sequence is not None else 0)
    header = struct.pack("!H", flags) + frame[_ip_offset(frame) - 2 :][:2]
    header += b"".join(struct.pack("!I", field) for field in (key, sequence) if field is not None)
    return ip(47, header + frame[_ip_offset(frame) :], src=src, dst=dst)


def erspan(frame: bytes, *, session: int = 1, src: str = SRC, dst: str = DST) -> bytes:
    """Put a frame into ERSPAN type II."""
    header = struct.pack("!HHI", 0x1000, 0x88BE, 1) + struct.pack("!HHI", 0x1000, session, 0)
    return ip(47, header + frame, src=src, dst=dst)


def ipip(frame: bytes, *, src: str = SRC, dst: str = DST) -> bytes:
    """Put the IP packet of a frame into another, IPv4 or IPv6 as the addresses are."""
    packet = frame[_ip_offset(frame) :]
    return ip(4 if packet[0] >> 4 == 4 else 41, packet, src=src, dst=dst)


def gtpu(frame: bytes, *, teid: int = 1, src: str = SRC, dst: str = DST) -> bytes:
    """Put the IP packet of a frame into GTP-U."""
    packet = frame[_ip_offset(frame) :]
    return udp(
        struct.pack("!BBHI", 0x30, 255, len(packet), teid) + packet, src=src, dst=dst, src_port=2152, dst_port=2152
    )


def hep3(
    payload: bytes,
    *chunks: tuple[int, bytes],
    src: str = SRC,
    dst: str = DST,
    src_port: int = 5060,
    dst_port: int = 5060,
    protocol: int = 17,
    kind: int = 1,
    timestamp: int = 0,
) -> bytes:
    """Give a packet of HEP version 3 that carries ``payload``, with further chunks as type and body."""
    source, destination = ip_address(src), ip_address(dst)
    v4 = source.version == 4
    seconds, rest = divmod(timestamp, 1_000_000_000)
    told = [
        (1, bytes([2 if v4 else 10])), (2, bytes([protocol])), (3 if v4 else 5, source.packed),
        (4 if v4 else 6, destination.packed), (7, struct.pack("!H", src_port)), (8, struct.pack("!H", dst_port)),
        (9, struct.pack("!I", seconds)), (10, struct.pack("!I", rest // 1000)), (11, bytes([kind])), *chunks,
        *([(15, payload)] if payload else []),
    ]  # fmt: skip
    body = b"".join(struct.pack("!HHH", 0, number, 6 + len(value)) + value for number, value in told)
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body


def hep(frame: bytes, *, src: str = SRC, dst: str = DST, port: int = 9060) -> bytes:
    """Put the payload of a UDP packet's frame into HEP version 3 over UDP, with the frame's addresses."""
    packet = decode(frame, tunnels=())
    told = hep3(
        packet.payload, src=str(packet.src_ip), dst=str(packet.dst_ip), src_port=packet.src_port,
        dst_port=packet.dst_port,
    )  # fmt: skip
    return udp(told, src=src, dst=dst, src_port=40000, dst_port=port)


def pppoe(frame: bytes, *, session: int = 1) -> bytes:
    """Put the IP packet of a frame into a PPPoE session."""
    packet = frame[_ip_offset(frame) :]
    protocol = 0x0021 if packet[0] >> 4 == 4 else 0x0057
    return ethernet(0x8864, struct.pack("!BBHHH", 0x11, 0, session, len(packet) + 2, protocol) + packet)


def mpls(frame: bytes, *labels: int) -> bytes:
    """Put the IP packet of a frame under a label stack, outermost first."""
    stack = b"".join(
        struct.pack("!I", label << 12 | (i == len(labels) - 1) << 8 | 64) for i, label in enumerate(labels)
    )
    return ethernet(0x8847, stack + frame[_ip_offset(frame) :])


def fragments(frame: bytes, size: int = 1480, identification: int | None = None) -> list[bytes]:
    """Cut a frame's IP packet into fragments with at most ``size`` bytes of payload each."""
    offset = _ip_offset(frame)
    head, packet = frame[:offset], frame[offset:]
    size -= size % 8
    if packet[0] >> 4 == 4:
        return _fragments4(head, packet, size, identification)
    return _fragments6(head, packet, size, identification or 1)


def decode(frame: bytes, *, tunnels: tuple[str, ...] = TUNNELS, **about: int) -> DecodedPacket:
    """Give the packet that the decoder makes of a frame, all tunnels looked into.

    ``about``: ``timestamp`` (ns), ``link_type``, ``orig_len``, ``interface_index``.
    Raises ValueError when it is no packet.
    """
    accounts = Accounts(COUNTERS)
    packet = Decoder(accounts, DecoderConfig(tunnels=tunnels)).decode_one(frame, **about)
    if packet is None:
        why = ", ".join(name for name, n in accounts.snapshot().items() if n)
        raise ValueError(f"the decoder makes no packet of this frame: {why}")
    return packet


def _ip_offset(frame: bytes) -> int:
    offset = 14
    while struct.unpack_from("!H", frame, offset - 2)[0] in TAGS:
        offset += 4
    return offset


def _fragments4(head: bytes, packet: bytes, size: int, identification: int | None) -> list[bytes]:
    length = (packet[0] & 15) * 4
    body = packet[length:]
    made = []
    for offset in range(0, len(body), size):
        part = dpkt.ip.IP(packet[:length])
        piece = body[offset : offset + size]
        part.len = length + len(piece)
        part.id = part.id if identification is None else identification
        part.mf = offset + size < len(body)
        part.offset = offset // 8
        part.sum = 0
        part.data = piece
        made.append(head + bytes(part))
    return made


def _fragments6(head: bytes, packet: bytes, size: int, identification: int) -> list[bytes]:
    body = packet[40:]
    made = []
    for offset in range(0, len(body), size):
        piece = body[offset : offset + size]
        more = offset + size < len(body)
        header = struct.pack("!BBHI", packet[6], 0, offset | more, identification)
        fixed = packet[:4] + struct.pack("!HB", 8 + len(piece), 44) + packet[7:40]
        made.append(head + fixed + header + piece)
    return made
