from collections.abc import Callable, Sequence
from typing import Any, final

from otus_calls.table import Call

@final
class Likely:
    near: dict[int, list[int]]
    def __init__(self, headers: tuple[bytes, ...]) -> None: ...
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
    def known(self, number: int) -> Any: ...
    def keep(self, number: int, what: Any) -> None: ...
    def next(self) -> tuple[int, Any]: ...
    def show_all(self, calls: list[Call], compare: Callable[[int, Sequence[int]], None]) -> None: ...
