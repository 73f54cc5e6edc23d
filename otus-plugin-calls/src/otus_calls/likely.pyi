from collections.abc import Sequence
from typing import final

from otus_calls.table import Call

@final
class Likely:
    def add(
        self,
        start: int,
        src: str,
        dst: str,
        caller: str | None,
        called: str | None,
        named: tuple[bytes | str, ...],
        sessions: tuple[str, ...],
        offer: bytes | None,
    ) -> Sequence[int]: ...
    def add_call(self, call: Call, headers: tuple[bytes, ...]) -> Sequence[int]: ...
