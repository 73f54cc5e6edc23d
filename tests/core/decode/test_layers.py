"""Each layer says what it should of frames that are whole: against dpkt, and against what the frame was built from."""

from __future__ import annotations

import struct

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core.decode.options import DecoderConfig
from otus_core.testing import packets
from tests.core.decode.frames import FRAME, FRAME6, LINKS, PACKET, PACKET6, eth, ipv6, label, llc
from tests.core.decode.support import Bench, unit


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
        pytest.param(
            eth(0x8847, label(16) + b"\x62" + FRAME[1:4] + b"\xff" + FRAME[5:]), id="pseudowire to a mac like ipv6"
        ),
        pytest.param(packets.pppoe(FRAME6) + b"padding", id="pppoe ipv6"),
        pytest.param(FRAME + bytes(40), id="padding"),
        pytest.param(FRAME6 + b"\x55" * 40, id="padding ipv6"),
        pytest.param(ipv6(0, b"\x11\x00\x01\x04\0\0\0\0" + PACKET6[40:]), id="hop by hop"),
        pytest.param(
            ipv6(0, b"\x2b\0" + bytes(6) + b"\x3c\x02" + bytes(22) + b"\x11\0" + bytes(6) + PACKET6[40:]),
            id="three extensions",
        ),
        pytest.param(ipv6(51, b"\x11\x04" + bytes(22) + PACKET6[40:]), id="ah"),
        pytest.param(packets.ip(51, b"\x11\x04" + bytes(22) + PACKET[20:]), id="ah in ipv4"),
        pytest.param(
            eth(0x800, b"\x46" + PACKET[1:3] + bytes([PACKET[3] + 4]) + PACKET[4:20] + b"\1\1\1\1" + PACKET[20:]),
            id="options",
        ),
        pytest.param(eth(0x800, PACKET[:2] + b"\0\0" + PACKET[4:]), id="no total length: offload"),
        pytest.param(eth(0x86DD, PACKET6[:4] + b"\0\0" + PACKET6[6:]), id="no payload length: offload"),
        pytest.param(eth(0x800, PACKET[:24] + b"\0\0" + PACKET[26:]), id="no udp length: offload"),
    ],
)
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
    data=st.binary(max_size=200),
    src=st.ip_addresses(v=4),
    dst=st.ip_addresses(v=4),
    ports=st.tuples(PORT, PORT),
    ids=st.lists(st.integers(0, 4095), max_size=4),
    padding=st.integers(0, 30),
    over_tcp=st.booleans(),
    ttl=st.integers(0, 255),
    tos=st.integers(0, 255),
)
def test_fields_are_those_that_dpkt_reads(data, src, dst, ports, ids, padding, over_tcp, ttl, tos) -> None:  # type: ignore[no-untyped-def]
    make = packets.tcp if over_tcp else packets.udp
    plain = make(data, src=str(src), dst=str(dst), src_port=ports[0], dst_port=ports[1], ttl=ttl)
    plain = plain[:15] + bytes((tos,)) + plain[16:]
    packet = unit(packets.vlan(plain, *ids) + bytes(padding), DecoderConfig())
    theirs = dpkt.ip.IP(plain[14:])
    assert packet.dscp == packet.ip.dscp == theirs.tos >> 2
    assert (packet.src_ip.packed, packet.dst_ip.packed, packet.protocol) == (theirs.src, theirs.dst, theirs.p)
    assert (packet.ip.ttl, packet.ip.total_len) == (theirs.ttl, theirs.len)
    assert (packet.src_port, packet.dst_port, packet.payload) == (
        theirs.data.sport,
        theirs.data.dport,
        theirs.data.data,
    )
    assert packet.vlans == tuple(ids[:2])
    if over_tcp:
        assert packet.transport is not None
        assert (packet.transport.seq, packet.transport.tcp_flags) == (theirs.data.seq, theirs.data.flags)


@pytest.mark.parametrize("traffic_class", [0, 0xB8, 0xFF])
def test_dscp_of_ipv6_is_read(traffic_class: int) -> None:
    frame = bytearray(packets.udp(b"x", src="2001:db8::1", dst="2001:db8::2"))
    frame[14] |= traffic_class >> 4
    frame[15] |= traffic_class << 4 & 0xF0
    assert unit(bytes(frame), DecoderConfig()).dscp == traffic_class >> 2
