from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, final

from otus_core.model.flow_key import FlowKey
from otus_core.model.label_source import LabelSource

_Address = str | IPv4Address | IPv6Address

@final
class Parsed:
    payload: Any
    raw: bytes | None
    payload_type: str | None
    def __init__(
        self,
        payload: Any,
        labels: dict[str, str] | LabelSource,
        raw: bytes | None = None,
        payload_type: str | None = None,
    ) -> None: ...
    @property
    def labels(self) -> dict[str, str]: ...

@final
class OutputPacket:
    task_id: str
    agent_id: str
    pipeline_id: int
    labels: dict[str, str]
    payload_type: str
    payload: Any
    raw_payload: bytes
    key: str | None
    is_record: bool
    def __init__(
        self,
        *,
        task_id: str = "",
        agent_id: str = "",
        pipeline_id: int = 0,
        timestamp: int = 0,
        src_ip: _Address | None = "0.0.0.0",
        dst_ip: _Address | None = "0.0.0.0",
        src_port: int = 0,
        dst_port: int = 0,
        protocol: int = 17,
        labels: dict[str, str] | None = None,
        payload_type: str = "raw",
        payload: Any = None,
        raw_payload: bytes = b"",
        outer_src_ip: _Address | None = None,
        outer_dst_ip: _Address | None = None,
        tunnel: str | None = None,
        vni: int | None = None,
        vlans: Sequence[int] = (),
        key: str | None = None,
        is_record: bool = False,
    ) -> None: ...
    @property
    def timestamp(self) -> int: ...
    def replace(self, *, payload: Any = ..., raw_payload: bytes = ...) -> None: ...
    def label(self, name: str) -> str | None: ...
    @property
    def src_ip(self) -> IPv4Address | IPv6Address | None: ...
    @property
    def dst_ip(self) -> IPv4Address | IPv6Address | None: ...
    @property
    def src_port(self) -> int: ...
    @property
    def dst_port(self) -> int: ...
    @property
    def protocol(self) -> int: ...
    @property
    def flow(self) -> FlowKey | None: ...
    @property
    def outer_src_ip(self) -> IPv4Address | IPv6Address | None: ...
    @property
    def outer_dst_ip(self) -> IPv4Address | IPv6Address | None: ...
    @property
    def tunnel(self) -> str | None: ...
    @property
    def vni(self) -> int | None: ...
    @property
    def vlans(self) -> tuple[int, ...]: ...

def let_replace(output: OutputPacket, may: bool) -> None: ...
