"""Tunnels: what is inside is described, outermost addresses beside it; what only looks like one is left alone."""

from __future__ import annotations

import struct
from collections.abc import Callable

import attrs
import pytest

from otus_core.decode.options import DecoderConfig
from otus_core.testing import packets
from tests.core.decode.frames import FRAME, FRAME6, PACKET, PACKET6, label
from tests.core.decode.support import unit

INNER = ("10.0.0.8", "10.0.0.9")
OUTER6 = ("fd00::1", "fd00::2")


def in_gre(header: str, body: bytes) -> bytes:
    """Put ``body`` behind a GRE header given in hexadecimal."""
    return packets.ip(47, bytes.fromhex(header) + body)


def in_gtpu(header: str, frame: bytes, src_port: int = 2152, dst_port: int = 2152) -> bytes:
    """Put a frame's IP packet behind a GTP-U header given in hexadecimal."""
    return packets.udp(bytes.fromhex(header) + frame[14:], src_port=src_port, dst_port=dst_port)


def ppp_protocol(frame: bytes) -> str:
    return "0021" if frame[12] == 8 else "0057"


@attrs.frozen
class Case:
    """A way to wrap a frame, and what the decoder must say of the tunnel."""

    name: str
    tunnel: str
    wrap: Callable[[bytes], bytes]
    vni: int | None = None
    outer: tuple[str, str] = (packets.SRC, packets.DST)


ERSPAN3 = "1000 22eb 00000001 2000 0001 00000000 0000"
CASES = [
    Case("vxlan", "vxlan", lambda f: packets.vxlan(f, vni=77), 77),
    Case("vxlan over ipv6", "vxlan", lambda f: packets.vxlan(f, vni=77, src=OUTER6[0], dst=OUTER6[1]), 77, OUTER6),
    Case("geneve", "geneve", lambda f: packets.geneve(f, vni=78), 78),
    Case("geneve with options", "geneve", lambda f: packets.geneve(f, vni=78, options=bytes(124)), 78),
    Case("gre", "gre", packets.gre),
    Case("gre key and sequence", "gre", lambda f: packets.gre(f, key=5, sequence=6)),
    Case("gre checksum", "gre", lambda f: in_gre("8000" + f[12:14].hex() + "00000000", f[14:])),
    Case("gre bridging", "gre", lambda f: in_gre("0000 6558", f)),
    Case("gre ppp", "gre", lambda f: in_gre("3081 880b 00000001 00000001 00000002 ff03" + ppp_protocol(f), f[14:])),
    Case("gre mpls", "gre", lambda f: in_gre("0000 8847", label(3) + f[14:])),
    Case("erspan i", "erspan", lambda f: in_gre("0000 88be", f)),
    Case("erspan ii", "erspan", packets.erspan),
    Case("erspan iii", "erspan", lambda f: in_gre(ERSPAN3 + "0000", f)),
    Case("erspan iii platform", "erspan", lambda f: in_gre(ERSPAN3 + "0001" + "00" * 8, f)),
    Case("erspan iii ip", "erspan", lambda f: in_gre(ERSPAN3 + "0800", f[14:])),
    Case("ip in ipv4", "ipip", packets.ipip),
    Case("ip in ipv6", "ipip", lambda f: packets.ipip(f, src=OUTER6[0], dst=OUTER6[1]), None, OUTER6),
    Case("gtp-u", "gtpu", packets.gtpu),
    Case("gtp-u sequence", "gtpu", lambda f: in_gtpu("32ff 0000 00000001 0001 00 00", f)),
    Case("gtp-u extensions", "gtpu", lambda f: in_gtpu("34ff 0000 00000001 0000 00 85 01100185 02000000 00000000", f)),
    Case("gtp-u from the port", "gtpu", lambda f: in_gtpu("30ff 0000 00000001", f, dst_port=1024)),
    Case(
        "vxlan in vxlan",
        "vxlan",
        lambda f: packets.vxlan(packets.vxlan(f, vni=2, src=INNER[0], dst=INNER[1]), vni=1),
        2,
    ),
    Case("vxlan in gre", "vxlan", lambda f: packets.gre(packets.vxlan(f, vni=2, src=INNER[0], dst=INNER[1])), 2),
    Case("ipip in vxlan", "ipip", lambda f: packets.vxlan(packets.ipip(f, src=INNER[0], dst=INNER[1]), vni=1)),
]


@pytest.mark.parametrize("frame", [FRAME, FRAME6], ids=["inner v4", "inner v6"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_go_defect_5_tunnels_give_inner_and_outermost_addresses(case: Case, frame: bytes) -> None:
    """The Go program reported the outer addresses, and read one tunnel level."""
    plain, packet = unit(frame), unit(packets.vlan(case.wrap(frame), 33))
    assert (packet.src_ip, packet.dst_ip) == (plain.src_ip, plain.dst_ip)
    assert (packet.ip.ttl, packet.ip.total_len) == (plain.ip.ttl, plain.ip.total_len)
    assert (packet.src_port, packet.dst_port, packet.payload) == (5060, 5062, b"hello")
    assert (str(packet.outer_src_ip), str(packet.outer_dst_ip)) == case.outer
    assert (packet.tunnel, packet.vni, packet.vlans) == (case.tunnel, case.vni, (33,))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tunnels_are_left_alone_by_default(case: Case) -> None:
    packet = unit(case.wrap(FRAME), DecoderConfig())
    assert (packet.tunnel, packet.outer_src_ip, packet.vni) == (None, None, None)
    assert PACKET[28:] in packet.payload
    assert packet.src_ip != unit(FRAME).src_ip


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
        pytest.param(
            packets.udp(b"\x34\xff\0\0\0\0\0\1\0\0\0\x85\0", dst_port=2152), id="gtp-u extension of no length"
        ),
        pytest.param(packets.udp(b"\x48\xff" + bytes(6) + PACKET, dst_port=2152), id="gtp of another version"),
        pytest.param(packets.ip(47, b"\x40\0\x08\0" + bytes(8) + PACKET), id="gre source route"),
        pytest.param(packets.ip(47, b"\0\2\x08\0" + PACKET), id="gre of another version"),
        pytest.param(packets.ip(47, b"\xb0\0\x08\0" + bytes(4)), id="gre cut"),
    ],
)
def test_what_is_no_packet_of_a_tunnel_is_a_unit_itself(frame: bytes) -> None:
    packet = unit(frame)
    assert (packet.tunnel, packet.outer_src_ip) == (None, None)
    assert str(packet.src_ip) == packets.SRC
    assert frame.endswith(packet.payload)
