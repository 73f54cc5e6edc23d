"""Each layer says what it should of frames that are whole: against dpkt, and against what the frame was built from."""

from __future__ import annotations

import struct
from collections.abc import Callable

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core.decode.options import DecoderConfig
from otus_core.model.packet import DecodedPacket
from otus_core.testing import packets
from tests.core.decode.support import Bench

FRAME = packets.udp(b"hello", src="10.1.1.1", dst="10.2.2.2", src_port=5060, dst_port=5062)
FRAME6 = packets.udp(b"hello", src="2001:db8::1", dst="2001:db8::2", src_port=5060, dst_port=5062)
PACKET, PACKET6 = FRAME[14:], FRAME6[14:]
BRIDGED = FRAME[:12] + FRAME[12:]


def unit(frame: bytes, options: DecoderConfig | None = None, **about: int) -> DecodedPacket:
    bench = Bench.of(options) if options else Bench.of()
    packet = bench.give(frame, **about)
    assert packet is not None, bench.counted()
    return packet


def eth(ethertype: int, body: bytes) -> bytes:
    return packets.ethernet(ethertype, body)


def llc(body: bytes) -> bytes:
    return packets.DST_MAC + packets.SRC_MAC + struct.pack("!H", len(body)) + body + b"padding"


def ipv6(next_header: int, body: bytes) -> bytes:
    return packets.ip(next_header, body, src="2001:db8::1", dst="2001:db8::2")


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


@pytest.mark.parametrize(("link_type", "frame"), [c[1:] for c in LINKS], ids=[c[0] for c in LINKS])
def test_link_types(link_type: int, frame: bytes) -> None:
    packet = unit(frame, link_type=link_type)
    assert (packet.src_port, packet.dst_port, packet.payload) == (5060, 5062, b"hello")
    assert (packet.ethernet is not None) == (b"bridged" in frame or link_type == 1 or FRAME in frame)


def tag(*pairs: tuple[int, int]) -> bytes:
    tags = b"".join(struct.pack("!HH", ethertype, identifier) for ethertype, identifier in pairs)
    return FRAME[:12] + tags + FRAME[12:]


@pytest.mark.parametrize(
    ("frame", "vlans"),
    [
        pytest.param(FRAME, (), id="none"),
        pytest.param(tag((0x8100, 7)), (7,), id="one"),
        pytest.param(tag((0x8100, 0xF007)), (7,), id="priority bits"),
        pytest.param(tag((0x88A8, 100), (0x8100, 200)), (100, 200), id="802.1ad"),
        pytest.param(tag((0x9100, 100), (0x8100, 200)), (100, 200), id="old qinq"),
        pytest.param(tag((0x8100, 1), (0x8100, 2), (0x8100, 3)), (1, 2), id="three"),
        pytest.param(tag(*[(0x8100, i) for i in range(8)]), (0, 1), id="as many as allowed"),
        pytest.param(FRAME[:12] + bytes.fromhex("8926 00000000") + tag((0x8100, 9))[12:], (9,), id="vn-tag"),
        pytest.param(packets.vlan(packets.pppoe(FRAME), 5), (5,), id="pppoe"),
        pytest.param(packets.vlan(packets.mpls(FRAME, 16, 17), 5), (5,), id="mpls"),
    ],
)
def test_tags(frame: bytes, vlans: tuple[int, ...]) -> None:
    packet = unit(frame)
    assert (packet.vlans, packet.payload) == (vlans, b"hello")
    assert packet.ethernet is not None
    assert (packet.ethernet.src_mac, packet.ethernet.dst_mac) == (packets.SRC_MAC, packets.DST_MAC)


def label(*labels: int) -> bytes:
    return b"".join(struct.pack("!I", n << 12 | (i == len(labels) - 1) << 8 | 9) for i, n in enumerate(labels))


MAC4 = bytes.fromhex("45a8b2000001")  # looks like the beginning of an IPv4 header


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(llc(b"\xaa\xaa\x03\x00\x00\x00\x08\x00" + PACKET), id="snap"),
        pytest.param(llc(b"\x06\x06\x03" + PACKET), id="llc ip"),
        pytest.param(llc(b"\xfe\xfe\x03\xcc" + PACKET), id="llc nlpid"),
        pytest.param(llc(b"\xaa\xaa\x03\x00\x80\xc2\x00\x07" + FRAME), id="bridged"),
        pytest.param(eth(0x8847, label(16) + PACKET), id="mpls ipv4"),
        pytest.param(eth(0x8848, label(16, 17, 18) + PACKET6), id="mpls ipv6"),
        pytest.param(eth(0x8847, label(16) + bytes(4) + FRAME), id="pseudowire with control word"),
        pytest.param(eth(0x8847, label(16) + FRAME), id="pseudowire without"),
        pytest.param(eth(0x8847, label(16) + MAC4 + FRAME[6:]), id="pseudowire to a mac like ipv4"),
        pytest.param(eth(0x8847, label(16) + b"\x62" + FRAME[1:4] + b"\xff" + FRAME[5:]), id="pseudowire to a mac like ipv6"),
        pytest.param(packets.pppoe(FRAME6) + b"padding", id="pppoe ipv6"),
        pytest.param(FRAME + bytes(40), id="padding"),
        pytest.param(FRAME6 + b"\x55" * 40, id="padding ipv6"),
        pytest.param(ipv6(0, b"\x11\x00\x01\x04\0\0\0\0" + PACKET6[40:]), id="hop by hop"),
        pytest.param(ipv6(0, b"\x2b\0" + bytes(6) + b"\x3c\x02" + bytes(22) + b"\x11\0" + bytes(6) + PACKET6[40:]), id="three extensions"),
        pytest.param(ipv6(51, b"\x11\x04" + bytes(22) + PACKET6[40:]), id="ah"),
        pytest.param(packets.ip(51, b"\x11\x04" + bytes(22) + PACKET[20:]), id="ah in ipv4"),
        pytest.param(eth(0x800, b"\x46" + PACKET[1:3] + bytes([PACKET[3] + 4]) + PACKET[4:20] + b"\1\1\1\1" + PACKET[20:]), id="options"),
        pytest.param(eth(0x800, PACKET[:2] + b"\0\0" + PACKET[4:]), id="no total length: offload"),
        pytest.param(eth(0x86DD, PACKET6[:4] + b"\0\0" + PACKET6[6:]), id="no payload length: offload"),
        pytest.param(eth(0x800, PACKET[:24] + b"\0\0" + PACKET[26:]), id="no udp length: offload"),
    ],
)  # fmt: skip
def test_ways_to_the_same_packet(frame: bytes) -> None:
    packet = unit(frame)
    assert (packet.src_port, packet.dst_port, packet.payload) == (5060, 5062, b"hello")
    assert packet.protocol == 17 and not packet.truncated


def test_go_defect_5_padding_never_reaches_a_payload() -> None:
    """The Go program let Ethernet padding leak into payloads."""
    short = packets.udp(b"\r\n\r\n")
    assert unit(short + bytes(60 - len(short))).payload == b"\r\n\r\n"
    assert unit(packets.tcp(b"") + bytes(6)).payload == b""
    assert unit(packets.vxlan(short + bytes(18))).payload == b"\r\n\r\n"


TUNNELLED: list[tuple[str, str, Callable[[bytes], bytes], tuple[str, str], int | None]] = [
    ("vxlan", "vxlan", lambda f: packets.vxlan(f, vni=77), (packets.SRC, packets.DST), 77),
    ("vxlan over ipv6", "vxlan", lambda f: packets.vxlan(f, vni=77, src="fd00::1", dst="fd00::2"), ("fd00::1", "fd00::2"), 77),
    ("geneve", "geneve", lambda f: packets.geneve(f, vni=78), (packets.SRC, packets.DST), 78),
    ("geneve with options", "geneve", lambda f: packets.geneve(f, vni=78, options=bytes(124)), (packets.SRC, packets.DST), 78),
    ("gre", "gre", packets.gre, (packets.SRC, packets.DST), None),
    ("gre key and sequence", "gre", lambda f: packets.gre(f, key=5, sequence=6), (packets.SRC, packets.DST), None),
    ("gre checksum", "gre", lambda f: packets.ip(47, b"\x80\x00" + f[12:14] + bytes(4) + f[14:]), (packets.SRC, packets.DST), None),
    ("gre bridging", "gre", lambda f: packets.ip(47, b"\x00\x00\x65\x58" + f), (packets.SRC, packets.DST), None),
    ("gre ppp", "gre", lambda f: packets.ip(47, bytes.fromhex("3081 880b 0000 0001 00000001 00000002 ff03") + (b"\x00\x21" if f[12] == 8 else b"\x00\x57") + f[14:]), (packets.SRC, packets.DST), None),
    ("gre mpls", "gre", lambda f: packets.ip(47, b"\x00\x00\x88\x47" + label(3) + f[14:]), (packets.SRC, packets.DST), None),
    ("erspan i", "erspan", lambda f: packets.ip(47, b"\x00\x00\x88\xbe" + f), (packets.SRC, packets.DST), None),
    ("erspan ii", "erspan", packets.erspan, (packets.SRC, packets.DST), None),
    ("erspan iii", "erspan", lambda f: packets.ip(47, bytes.fromhex("1000 22eb 00000001 2000 0001") + bytes(8) + f), (packets.SRC, packets.DST), None),
    ("erspan iii platform", "erspan", lambda f: packets.ip(47, bytes.fromhex("1000 22eb 00000001 2000 0001") + bytes(7) + b"\1" + bytes(8) + f), (packets.SRC, packets.DST), None),
    ("erspan iii ip", "erspan", lambda f: packets.ip(47, bytes.fromhex("1000 22eb 00000001 2000 0001") + bytes(6) + b"\x08\0" + f[14:]), (packets.SRC, packets.DST), None),
    ("ip in ipv4", "ipip", packets.ipip, (packets.SRC, packets.DST), None),
    ("ip in ipv6", "ipip", lambda f: packets.ipip(f, src="fd00::1", dst="fd00::2"), ("fd00::1", "fd00::2"), None),
    ("gtp-u", "gtpu", packets.gtpu, (packets.SRC, packets.DST), None),
    ("gtp-u sequence", "gtpu", lambda f: packets.udp(b"\x32\xff\0\0\0\0\0\1" + b"\0\1\0\0" + f[14:], dst_port=2152), (packets.SRC, packets.DST), None),
    ("gtp-u extensions", "gtpu", lambda f: packets.udp(b"\x34\xff\0\0\0\0\0\1" + b"\0\0\0\x85" + b"\1\x10\1\x85" + b"\2" + bytes(6) + b"\0" + f[14:], dst_port=2152), (packets.SRC, packets.DST), None),
    ("gtp-u from the port", "gtpu", lambda f: packets.udp(b"\x30\xff\0\0\0\0\0\1" + f[14:], src_port=2152, dst_port=1024), (packets.SRC, packets.DST), None),
    ("vxlan in vxlan", "vxlan", lambda f: packets.vxlan(packets.vxlan(f, vni=2, src="10.0.0.8", dst="10.0.0.9"), vni=1), (packets.SRC, packets.DST), 2),
    ("vxlan in gre", "vxlan", lambda f: packets.gre(packets.vxlan(f, vni=2, src="10.0.0.8", dst="10.0.0.9")), (packets.SRC, packets.DST), 2),
    ("ipip in vxlan", "ipip", lambda f: packets.vxlan(packets.ipip(f, src="10.0.0.8", dst="10.0.0.9"), vni=1), (packets.SRC, packets.DST), None),
]  # fmt: skip


@pytest.mark.parametrize("frame", [FRAME, FRAME6], ids=["inner v4", "inner v6"])
@pytest.mark.parametrize(("tunnel", "wrap", "outer", "vni"), [c[1:] for c in TUNNELLED], ids=[c[0] for c in TUNNELLED])
def test_go_defect_5_tunnels_give_inner_and_outermost_addresses(
    frame: bytes, tunnel: str, wrap: Callable[[bytes], bytes], outer: tuple[str, str], vni: int | None
) -> None:
    """The Go program reported the outer addresses, and read one tunnel level."""
    plain, packet = unit(frame), unit(packets.vlan(wrap(frame), 33))
    assert (packet.src_ip, packet.dst_ip, packet.ip.ttl, packet.ip.total_len) == (
        plain.src_ip, plain.dst_ip, plain.ip.ttl, plain.ip.total_len,
    )  # fmt: skip
    assert (packet.src_port, packet.dst_port, packet.payload) == (5060, 5062, b"hello")
    assert (str(packet.outer_src_ip), str(packet.outer_dst_ip)) == outer
    assert (packet.tunnel, packet.vni, packet.vlans) == (tunnel, vni, (33,))


@pytest.mark.parametrize("wrap", [c[2] for c in TUNNELLED], ids=[c[0] for c in TUNNELLED])
def test_tunnels_are_left_alone_by_default(wrap: Callable[[bytes], bytes]) -> None:
    packet = unit(wrap(FRAME), DecoderConfig())
    assert packet.tunnel is None and packet.outer_src_ip is None and packet.vni is None
    assert PACKET[28:] in packet.payload and packet.src_ip != unit(FRAME).src_ip


def test_tunnel_ports_are_configurable() -> None:
    frame = packets.vxlan(FRAME, port=8472)
    assert unit(frame, DecoderConfig(tunnels=("vxlan",))).tunnel is None
    assert unit(frame, DecoderConfig(tunnels=("vxlan",), vxlan_ports=(4789, 8472))).tunnel == "vxlan"


def test_vxlan_gpe_says_what_is_inside() -> None:
    options = DecoderConfig(tunnels=("vxlan",), vxlan_ports=(4790,))
    for protocol, body in ((1, PACKET), (2, PACKET6), (3, FRAME)):
        frame = packets.udp(struct.pack("!IHH", 0x0C000000 | protocol, 0, 0x0700) + body, dst_port=4790)
        assert unit(frame, options).payload == b"hello"


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(packets.udp(bytes(8) + FRAME, dst_port=4789), id="vxlan without its flag"),
        pytest.param(packets.udp(b"\x08\0\0", dst_port=4789), id="vxlan cut"),
        pytest.param(packets.udp(b"\x40" + bytes(7) + FRAME, dst_port=6081), id="geneve of another version"),
        pytest.param(packets.udp(b"\x3f" + bytes(7) + FRAME, dst_port=6081), id="geneve options cut"),
        pytest.param(packets.udp(b"\x32\x01\0\4\0\0\0\0\0\0\0\0", dst_port=2152), id="gtp-u echo"),
        pytest.param(packets.udp(b"\x34\xff\0\0\0\0\0\1\0\0\0\x85\0", dst_port=2152), id="gtp-u extension of no length"),
        pytest.param(packets.udp(b"\x48\xff" + bytes(6) + PACKET, dst_port=2152), id="gtp of another version"),
        pytest.param(packets.ip(47, b"\x40\0\x08\0" + bytes(8) + PACKET), id="gre source route"),
        pytest.param(packets.ip(47, b"\0\2\x08\0" + PACKET), id="gre of another version"),
        pytest.param(packets.ip(47, b"\xb0\0\x08\0" + bytes(4)), id="gre cut"),
    ],
)
def test_what_is_no_packet_of_a_tunnel_is_a_unit_itself(frame: bytes) -> None:
    packet = unit(frame)
    assert packet.tunnel is None and packet.outer_src_ip is None
    assert str(packet.src_ip) == packets.SRC and frame.endswith(packet.payload)


def test_other_protocols_are_units_too() -> None:
    for protocol in (1, 50, 59, 103, 132, 136, 255):
        packet = unit(packets.ip(protocol, b"some body"))
        assert (packet.protocol, packet.transport, packet.src_port, packet.payload) == (protocol, None, 0, b"some body")
    assert unit(ipv6(58, b"icmp")).payload == b"icmp"
    assert unit(ipv6(59, b"")).payload == b""


@pytest.mark.parametrize(
    ("body", "transport", "payload"),
    [
        pytest.param(b"\x13\xc4\x13\xc6\0\x0a\0\0hello", 17, b"he", id="udp length below ip's"),
        pytest.param(b"\x13\xc4\x13\xc6\0\xff\0\0hello", 17, b"hello", id="udp length above ip's"),
        pytest.param(b"\x13\xc4\x13\xc6\0\x07\0\0hello", 17, b"", id="udp length below its header"),
        pytest.param(b"\x13\xc4\x13\xc6\0\x08\0", None, b"\x13\xc4\x13\xc6\0\x08\0", id="udp header cut"),
        pytest.param(b"", None, b"", id="no header"),
    ],
)
def test_udp_lengths(body: bytes, transport: int | None, payload: bytes) -> None:
    packet = unit(packets.ip(17, body))
    assert (packet.transport and packet.transport.protocol, packet.payload) == (transport, payload)


@pytest.mark.parametrize(
    ("offset", "payload"), [(5, b"\1\1\1\1data"), (6, b"data"), (4, b""), (15, b""), (0, b"")], ids=str
)
def test_tcp_data_offset(offset: int, payload: bytes) -> None:
    header = struct.pack("!HHIIBBHHH", 5060, 5062, 0xFFFFFFFE, 7, offset << 4, 0xC2, 0, 0, 0)
    packet = unit(packets.ip(6, header + b"\1\1\1\1data"))
    assert packet.transport is not None and packet.payload == payload
    assert (packet.transport.seq, packet.transport.ack, packet.transport.tcp_flags) == (0xFFFFFFFE, 7, 0xC2)


def test_jumbograms() -> None:
    """RFC 2675: payload length 0 and the length in a hop-by-hop option, which must be above 65,535."""
    body = b"\x11\x00\xc2\x04" + struct.pack("!I", 70016) + b"\x13\xc4\x13\xc6\0\0\0\0" + bytes(70000)
    header = struct.pack("!IHBB", 6 << 28, 0, 0, 64) + bytes(32)
    packet = unit(eth(0x86DD, header + body))
    assert (packet.payload_len, packet.ip.total_len, packet.truncated) == (70000, 70056, False)
    bench = Bench.of()
    assert bench.give(eth(0x86DD, header + body.replace(struct.pack("!I", 70016), struct.pack("!I", 65535)))) is None
    assert bench.give(eth(0x86DD, header + b"\x11\x00\x01\x04\0\0\0\0" + bytes(100))) is None
    assert bench.counted() == {"decode:bad_header": 2}


PORT = st.integers(0, 65535)


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=200), src=st.ip_addresses(v=4), dst=st.ip_addresses(v=4), ports=st.tuples(PORT, PORT),
    ids=st.lists(st.integers(0, 4095), max_size=4), padding=st.integers(0, 30), over_tcp=st.booleans(), ttl=st.integers(0, 255),
)  # fmt: skip
def test_fields_are_those_that_dpkt_reads(data, src, dst, ports, ids, padding, over_tcp, ttl) -> None:  # type: ignore[no-untyped-def]
    make = packets.tcp if over_tcp else packets.udp
    plain = make(data, src=str(src), dst=str(dst), src_port=ports[0], dst_port=ports[1], ttl=ttl)
    packet = unit(packets.vlan(plain, *ids) + bytes(padding), DecoderConfig())
    theirs = dpkt.ip.IP(plain[14:])
    assert (packet.src_ip.packed, packet.dst_ip.packed, packet.protocol) == (theirs.src, theirs.dst, theirs.p)
    assert (packet.ip.ttl, packet.ip.total_len) == (theirs.ttl, theirs.len)
    assert (packet.src_port, packet.dst_port, packet.payload) == (theirs.data.sport, theirs.data.dport, theirs.data.data)
    assert packet.vlans == tuple(ids[:2])
    if over_tcp:
        assert packet.transport is not None
        assert (packet.transport.seq, packet.transport.tcp_flags) == (theirs.data.seq, theirs.data.flags)
