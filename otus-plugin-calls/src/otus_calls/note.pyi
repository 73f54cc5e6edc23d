from typing import final

@final
class Note:
    time: int
    src: str
    dst: str
    sport: int
    dport: int
    protocol: int
    vlan: int
    status: int
    repeat: int
    cseq: int
    size: int
    method: str
    reason: str | None
    to_tag: bytes
    branch: bytes
    fields: dict[str, str] | None
    body: bytes | None
    from_caller: bool
