from ipaddress import IPv4Address, IPv6Address
from typing import Any, final

from otus_core.model.flow_key import FlowKey
from otus_core.model.label_source import LabelSource

_Address = str | bytes | IPv4Address | IPv6Address

@final
class Record:
    payload_type: str
    payload: Any
    key: str | None
    size: int
    def __init__(
        self,
        payload_type: str,
        payload: Any,
        timestamp: int,
        *,
        labels: dict[str, str] | LabelSource | None = None,
        key: str | None = None,
        src_ip: _Address | None = None,
        dst_ip: _Address | None = None,
        src_port: int = 0,
        dst_port: int = 0,
        protocol: int = 0,
        size: int = 0,
        flow: FlowKey | bytes | None = None,
    ) -> None: ...
    @property
    def labels(self) -> dict[str, str]: ...
    @property
    def timestamp(self) -> int: ...
