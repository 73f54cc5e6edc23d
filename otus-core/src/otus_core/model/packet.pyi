from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import final

from otus_core.model.flow_key import FlowKey

TUNNEL_NAMES: tuple[str | None, ...]

@final
class Ethernet:
    src_mac: bytes
    dst_mac: bytes
    ethertype: int
    vlans: tuple[int, ...]

@final
class IP:
    version: int
    src: IPv4Address | IPv6Address
    dst: IPv4Address | IPv6Address
    protocol: int
    ttl: int
    dscp: int
    total_len: int
    outer_src: IPv4Address | IPv6Address | None
    outer_dst: IPv4Address | IPv6Address | None
    tunnel: str | None
    vni: int | None

@final
class Transport:
    protocol: int
    src_port: int
    dst_port: int
    tcp_flags: int
    seq: int
    ack: int

@final
class DecodedPacket:
    @property
    def timestamp(self) -> int: ...
    @property
    def end_timestamp(self) -> int: ...
    @property
    def capture_len(self) -> int: ...
    @property
    def orig_len(self) -> int: ...
    @property
    def interface_index(self) -> int: ...
    @property
    def link_type(self) -> int: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def reassembled(self) -> bool: ...
    @property
    def truncated(self) -> bool: ...
    @property
    def src_ip(self) -> IPv4Address | IPv6Address: ...
    @property
    def dst_ip(self) -> IPv4Address | IPv6Address: ...
    @property
    def protocol(self) -> int: ...
    @property
    def dscp(self) -> int: ...
    @property
    def src_port(self) -> int: ...
    @property
    def dst_port(self) -> int: ...
    @property
    def vlans(self) -> tuple[int, ...]: ...
    @property
    def tunnel(self) -> str | None: ...
    @property
    def vni(self) -> int | None: ...
    @property
    def outer_src_ip(self) -> IPv4Address | IPv6Address | None: ...
    @property
    def outer_dst_ip(self) -> IPv4Address | IPv6Address | None: ...
    @property
    def payload_len(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def frame(self) -> bytes: ...
    @property
    def flow(self) -> FlowKey: ...
    @property
    def ethernet(self) -> Ethernet | None: ...
    @property
    def ip(self) -> IP: ...
    @property
    def transport(self) -> Transport | None: ...
