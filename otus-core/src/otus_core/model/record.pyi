from ipaddress import IPv4Address, IPv6Address
from typing import Any, final

from otus_core.model.flow_key import FlowKey

_Address = str | bytes | IPv4Address | IPv6Address

@final
class Record:
    payload_type: str
    payload: Any
    labels: dict[str, str]
    key: str | None
    size: int
    def __init__(
        self,
        payload_type: str,
        payload: Any,
        timestamp: int,
        *,
        labels: dict[str, str] | None = None,
        key: str | None = None,
        src_ip: _Address | None = None,
        dst_ip: _Address | None = None,
        src_port: int = 0,
        dst_port: int = 0,
        protocol: int = 0,
        size: int = 0,
        flow: FlowKey | None = None,
    ) -> None: ...
    @property
    def timestamp(self) -> int: ...
