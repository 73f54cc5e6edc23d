"""L2–L4 fields and payloads of real captures, against tshark's; each exception is listed with its reason."""

from __future__ import annotations

import collections
import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs
import dpkt
import pytest

from otus_core.decode.options import DecoderConfig
from otus_core.model.packet import DecodedPacket
from tests.core.decode.captures import read_capture
from tests.core.decode.support import Bench

CORPORA = Path(os.environ.get("OTUS_CORPORA", Path(__file__).parents[4] / "shared" / "corpora"))
pytestmark = pytest.mark.skipif(
    not CORPORA.is_dir() and not os.environ.get("CI"), reason="the corpora are not here (OTUS_CORPORA)"
)

UNSUPPORTED_LINKS = {6, 178, 192, 258}
"""Token ring, Juniper, PPI, PKTAP: link types of the corpora that are not ours to read."""

UNREAD = {
    "macsec": "MACsec is not read: not_ip",
    "ipcomp": "tshark uncompresses IPComp; to us it is a protocol like any other",
    "gre-over-udp": "GRE in UDP is not among the tunnels",
    "wccp": "WCCP's redirect header in GRE is not read: not_ip",
}
"""What tshark looks into and we do not, by a word in the capture's name or in ``frame.protocols``."""

FRAMES_THAT_DIFFER = {
    ("libpcap__filter__ipv6_ext_headers.pcap", 1): "more extension headers than we follow: too_deep",
    ("zeek__tunnels__geneve-truncated.pcapng", 1): "ends inside the inner Ethernet header: truncated",
    ("zeek__tunnels__vxlan-triple-v2.pcap", 1): "tshark lists all three VNIs; ours is the innermost",
    ("pcapplusplus__null_loopback.pcap", 3): "an address family that no system has: not_ip",
    ("wireshark-wiki__crack-traces__teardrop.cap", 9): "overlapping fragments are discarded; tshark joins them",
    (
        "zeek__ipv6-reassembly-state-leak.pcap",
        46,
    ): "payload of 65,536 bytes with its hop-by-hop header: too_large, RFC 8200 §4.5",
    (
        "zeek__ipv6-reassembly-state-leak.pcap",
        92,
    ): "payload of 65,536 bytes with its hop-by-hop header: too_large, RFC 8200 §4.5",
    ("ndpi__fuzz-2006-09-29-28586.pcap", 111): "the TCP header is not whole in the IP packet; tshark shows its ports",
    ("suricata__decode-too-small__test.pcap", 3): "the UDP header is not whole; tshark shows its ports",
    ("suricata__decode-too-small__test.pcap", 5): "the TCP header is not whole",
    ("suricata__decode-too-small__test.pcap", 6): "the UDP header is not whole",
    ("suricata__decode-too-small__test.pcap", 7): "the UDP header is not whole; tshark shows its ports",
    ("tcpdump__tcp_header_heapoverflow.pcap", 1): "the TCP header is not whole; tshark shows its ports",
    ("zeek__trunc__ip-discarder-truncated-tcp-oob.pcapng", 1): "the TCP header is not whole",
    ("arkime__arkime_synthetic.pcap", 618): "VXLAN-GPE on port 4790, which is not configured",
    ("arkime__arkime_synthetic.pcap", 619): "VXLAN-GPE on port 4790, which is not configured",
    ("arkime__arkime_synthetic.pcap", 623): "from, not to, Geneve's port (RFC 8926 §3.3)",
}
FILES_THAT_DIFFER = {
    "arkime__gre-erspan-vxlan.pcap": "VXLAN to port 4790, which is not configured",
    "pcapng-test-generator__output_le__": "tshark numbers blocks that hold no frame too",
    "zeek__quic__383379789-decrypt-crash.pcap": "tshark gives payloads that are longer than the UDP length",
}


@attrs.frozen
class Expected:
    """What tshark says of the innermost packet."""

    src: str | None
    dst: str | None
    transport: str
    src_port: str | None
    dst_port: str | None
    payload_sha256: str | None
    outer_src: str | None


def rows(oracle: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(oracle, "rt") if oracle.suffix == ".gz" else oracle.open() as lines:
        yield from map(json.loads, lines)


def nth(row: dict[str, Any], key: str, n: int) -> str | None:
    values = row.get(key)
    values = values if isinstance(values, list) else [values]
    return values[n] if n < len(values) else None


def layers(row: dict[str, Any]) -> list[tuple[str, int]]:
    """Give the IP and transport layers down to any ICMP error, each with its place among its kind."""
    seen: collections.Counter[str] = collections.Counter()
    found = []
    for name in row.get("frame.protocols", "").split(":"):
        if name in ("icmp", "icmpv6"):
            break
        if name in ("ip", "ipv6", "udp", "tcp"):
            found.append((name, seen[name]))
            seen[name] += 1
    return found


def expected(row: dict[str, Any]) -> Expected | None:
    found = layers(row)
    addressed = [layer for layer in found if layer[0] in ("ip", "ipv6")]
    if not addressed or found[-1][0] not in ("udp", "tcp"):
        return None
    (version, n), (transport, m), (outer, _) = addressed[-1], found[-1], addressed[0]
    return Expected(
        src=nth(row, f"{version}.src", n),
        dst=nth(row, f"{version}.dst", n),
        transport=transport,
        src_port=nth(row, f"{transport}.srcport", m),
        dst_port=nth(row, f"{transport}.dstport", m),
        payload_sha256=nth(row, f"{transport}.payload_sha256", m),
        outer_src=nth(row, f"{outer}.src", 0) if len(addressed) > 1 else None,
    )


def excused(name: str, number: int, row: dict[str, Any]) -> bool:
    return (
        (name, number) in FRAMES_THAT_DIFFER
        or any(name.startswith(start) for start in FILES_THAT_DIFFER)
        or any(word in name or word in row["frame.protocols"].split(":") for word in UNREAD)
    )


def differences(packet: DecodedPacket, want: Expected, row: dict[str, Any]) -> list[str]:
    """Say in which fields the packet is not what tshark says."""
    got: dict[str, object] = {
        "src": packet.src_ip, "dst": packet.dst_ip,
        "src_port": str(packet.src_port), "dst_port": str(packet.dst_port),
        "transport": packet.transport and packet.transport.protocol,
    }  # fmt: skip
    wanted: dict[str, object] = {
        "src": ip_address(want.src or ""), "dst": ip_address(want.dst or ""),
        "src_port": want.src_port, "dst_port": want.dst_port,
        "transport": 17 if want.transport == "udp" else 6,
    }  # fmt: skip
    if want.payload_sha256 and not packet.truncated:
        got["payload"] = hashlib.sha256(packet.payload).hexdigest()
        wanted["payload"] = want.payload_sha256
    if want.transport == "tcp" and packet.transport:
        got["seq"], wanted["seq"] = str(packet.transport.seq), row.get("tcp.seq_raw", str(packet.transport.seq))
        flags = int(row.get("tcp.flags", hex(packet.transport.tcp_flags)), 16)
        got["flags"], wanted["flags"] = packet.transport.tcp_flags, flags & 0xFF
    if "vlan.id" in row:
        got["vlans"], wanted["vlans"] = packet.vlans, tuple(int(i) for i in row["vlan.id"][:2])
    for key in ("vxlan.vni", "geneve.vni"):
        if key in row:
            got["vni"], wanted["vni"] = packet.vni, int(row[key], 0)
    if want.outer_src:
        got["outer"], wanted["outer"] = packet.outer_src_ip, ip_address(want.outer_src)
    return [f"{field}: {got[field]} is not {value}" for field, value in wanted.items() if got[field] != value]


def test_fields_are_those_that_tshark_reads() -> None:
    compared, wrong = 0, []
    for oracle in sorted((CORPORA / "oracle").glob("*.l4.jsonl*")):
        name = oracle.name.split(".l4.jsonl")[0]
        truth = {row.get("frame.number"): row for row in rows(oracle)}
        bench = Bench.of()
        for number, frame in enumerate(read_capture(CORPORA / name), 1):
            packet = bench.give(
                frame.data, timestamp=frame.timestamp, link_type=frame.link_type, orig_len=frame.orig_len
            )
            row = truth.get(number)
            want = expected(row) if row else None
            if row is None or want is None or excused(name, number, row) or frame.link_type in UNSUPPORTED_LINKS:
                continue
            compared += 1
            if packet is None:
                if not row["frame.protocols"].endswith(":arp"):  # in a tunnel: not_ip
                    wrong.append(f"{name} {number}: no unit")
            else:
                wrong += [f"{name} {number}: {text}" for text in differences(packet, want, row)]
    assert not wrong, "\n".join(wrong[:40])
    assert compared > 12_000


def test_fields_are_those_that_dpkt_reads_with_tunnels_off() -> None:
    compared = 0
    for capture in sorted(CORPORA.glob("*.pcap*")):
        bench = Bench.of(DecoderConfig(ip_reassembly=False))
        for frame in read_capture(capture):
            packet = bench.give(frame.data, link_type=frame.link_type, orig_len=frame.orig_len)
            theirs = _dpkt(frame.data) if frame.link_type == 1 else None
            if theirs is None or packet is None:
                continue
            ip, transport = theirs
            assert (packet.src_ip.packed, packet.dst_ip.packed) == (ip.src, ip.dst), capture.name
            assert (packet.src_port, packet.dst_port) == (transport.sport, transport.dport), capture.name
            if not packet.truncated and ip.len and (not hasattr(transport, "ulen") or transport.ulen == len(transport)):
                assert packet.payload == transport.data, capture.name
            compared += 1
    assert compared > 10_000


def _dpkt(data: bytes) -> tuple[Any, Any] | None:
    """Give dpkt's IPv4 and transport headers, where they lie directly in Ethernet and are whole."""
    try:
        ip = dpkt.ethernet.Ethernet(data).data
    except (dpkt.Error, IndexError, ValueError, AttributeError):
        return None
    if not isinstance(ip, dpkt.ip.IP) or not isinstance(ip.data, dpkt.udp.UDP | dpkt.tcp.TCP):
        return None
    if isinstance(ip.data, dpkt.tcp.TCP) and ip.data.off < 5:
        return None
    return ip, ip.data
