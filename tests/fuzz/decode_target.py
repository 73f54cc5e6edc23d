"""Fuzz target: any bytes as a frame of any link type. Each costs one counter, and a packet's fields can be read.

``python -m tests.fuzz.decode_target`` runs seeds and mutations; with ``--fuzz`` and atheris installed it fuzzes.
Input: two bytes of link type, one of how much the capture cut off, then the frame.
"""

from __future__ import annotations

import struct

from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import TUNNELS, DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.testing import packets
from tests.fuzz.harness import run

LINK_TYPES = (1, 0, 9, 12, 50, 51, 100, 101, 104, 107, 108, 113, 123, 138, 166, 242, 276)
EVERYTHING = DecoderConfig(tunnels=TUNNELS)


def one_input(data: bytes) -> None:
    """Decode ``data`` with all tunnels on; the identity must hold."""
    if len(data) < 3:
        return
    link_type = LINK_TYPES[data[1] % len(LINK_TYPES)] if data[0] == 0 else struct.unpack_from("!H", data)[0]
    accounts = Accounts(COUNTERS)
    decoder = Decoder(accounts, EVERYTHING)
    packet = decoder.decode_one(data[3:], link_type=link_type, orig_len=len(data) - 3 + data[2])
    ends = sum(n for name, n in accounts.snapshot().items() if not name.startswith("hidden{"))
    assert ends + (packet is not None) == 1
    if packet is None:
        return
    assert packet.payload_len <= len(data)
    for name in (
        "src_ip",
        "dst_ip",
        "flow",
        "payload",
        "frame",
        "ethernet",
        "ip",
        "transport",
        "outer_src_ip",
        "vlans",
    ):
        repr(getattr(packet, name))


def seeds() -> list[bytes]:
    """Give one frame of each kind."""
    plain = packets.udp(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n")
    plain6 = packets.tcp(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", src="2001:db8::1", dst="2001:db8::2")
    wraps = (
        packets.vxlan,
        packets.geneve,
        packets.gre,
        packets.erspan,
        packets.ipip,
        packets.gtpu,
        packets.pppoe,
        packets.hep,
    )
    frames = [plain, plain6, packets.vlan(plain, 1, 2), packets.mpls(plain, 1, 2)]
    frames += [wrap(frame) for wrap in wraps for frame in (plain, plain6)]
    ethernet = [b"\0\0\0" + frame for frame in frames]
    return ethernet + [bytes((0, i, 0)) + plain[14 - lead :] for i in range(1, len(LINK_TYPES)) for lead in (0, 2, 4)]


if __name__ == "__main__":
    run(one_input, seeds())
