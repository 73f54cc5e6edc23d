from collections.abc import Iterable
from typing import final

from otus_core.model.output import OutputPacket

@final
class TextLines:
    columns: int
    def __init__(self, *, columns: int = 0, colour: bool = False, utc: bool = False, dated: bool = False) -> None: ...
    def encode(self, outputs: Iterable[OutputPacket], failed: list[tuple[int, Exception]]) -> bytes: ...
