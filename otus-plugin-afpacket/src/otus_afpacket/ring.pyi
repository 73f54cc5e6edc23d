from typing import final

from otus_core import FrameBatch

@final
class Ring:
    """One socket's ring. ``given`` counts the frames given, those of earlier processes included; ``malformed`` what could not be one."""

    given: int
    malformed: int
    def __init__(self, fd: int, block_size: int, block_count: int, *, cooked: bool = ..., taken: int = ...) -> None: ...
    def read(self) -> FrameBatch | None:
        """Give the block that was given before back to the kernel, and the frames of the next one: ``None`` when there is none yet."""
    def give_back(self) -> None:
        """Give the block that was read last back to the kernel."""
