from collections.abc import Iterable, Iterator
from typing import Any

from typing_extensions import disjoint_base

from otus_core.pipeline.breaker import Breaker
from otus_core.pipeline.outputs import Outputs
from otus_core.pipeline.slots import ParserSlot, Slot

ROUNDS_MAX: int
ROUNDS_WITHIN_S: float

@disjoint_base
class Turns(Outputs):
    parsers: tuple[ParserSlot, ...]
    clock: int
    def __init__(self, *, parsers: Iterable[ParserSlot], **rest: Any) -> None: ...
    @property
    def breakers(self) -> list[Breaker]: ...
    def rounds(self, at: int) -> Iterator[bool]: ...
    def finish_processor(self, at: int) -> None: ...
    def carry_on(self, forced: bool = False) -> bool: ...
    def take_routed(self, slot: Slot, key: str, message: Any) -> None: ...
