from collections.abc import Callable
from typing import final

@final
class Binding:
    key: bytes
    aor: bytes
    contact: bytes
    flow: bytes
    call_id: bytes
    agent: bytes | None
    first: int
    last: int
    due: int
    registered_at: int
    asked: int
    attempt: int
    requested: int
    expires: int
    delay_count: int
    delay_total: int
    delay_most: int
    attempts: int
    challenges: int
    refreshes: int
    successes: int
    failures: int
    ineffective: int
    refused_proofs: int
    retransmissions: int
    duplicates: int
    code: int
    removed: bool
    had_proof: bool
    challenged: bool
    scan: bool
    def state(self, now: int) -> str: ...

@final
class Pending: ...

@final
class Bindings:
    looks: int
    @property
    def queue_size(self) -> int: ...
    def __init__(self, most: int, failed: Callable[[str, str], None]) -> None: ...
    def take(self, at: int, flow: bytes, said: bytes, fields: bytes) -> Binding | None: ...
    def mark_scan(self, aor: str) -> None: ...
    def due(self, now: int) -> list[Binding]: ...
    def all(self) -> list[Binding]: ...

def aor_in(fields: bytes) -> bytes: ...
