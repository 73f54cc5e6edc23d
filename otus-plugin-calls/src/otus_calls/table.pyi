from typing import Any, final

from otus_calls.note import Note
from otus_calls.replay import Outcome

@final
class Call:
    call_id: bytes
    from_tag: bytes
    notes: list[Note]
    first: int
    last: int
    due: int
    cut: int
    phase: int
    silent: bool
    told: int
    streams: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    legs: list[dict[str, Any]]
    carded: int
    @property
    def messages(self) -> int: ...
    def outcome_by(self, now: int) -> Outcome: ...

@final
class Table:
    count: int
    def __init__(self, *, most: int, notes_most: int, linger: int, ring_timeout: int, talk_timeout: int) -> None: ...
    def __len__(self) -> int: ...
    def of(self, call_id: bytes, tag: bytes | None = None) -> list[Call]: ...
    def lose(self, call: Call, until: int) -> None: ...
    def surplus(self) -> Call | None: ...
    def remove(self, call: Call) -> None: ...
    def due(self, now: int) -> list[Call]: ...
    def calls(self) -> list[Call]: ...
