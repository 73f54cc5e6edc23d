from typing import final

from otus_core.model.accounts import Accounts
from otus_core.model.output import OutputPacket

@final
class SendBuffer:
    capacity: int
    count: int
    bytes_held: int
    max_bytes: int
    waits: bool
    def __init__(self, accounts: Accounts, reporter: str, capacity: int, max_bytes: int, waits: bool) -> None: ...
    def __len__(self) -> int: ...
    @property
    def full(self) -> bool: ...
    def offer(self, output: OutputPacket) -> None: ...
    def take(self, most: int) -> list[OutputPacket]: ...
