from typing import final

from otus_core import FrameBatch

@final
class Ring:
    """One socket's ring.

    ``given`` counts the frames given and ``excluded`` those of Otus's own connections, both with what earlier processes
    counted; ``malformed`` what could not be a frame.
    """

    given: int
    malformed: int
    @property
    def excluded(self) -> int:
        """Frames that were counted and not given; the ring itself knows, so that none is lost with a process."""
    def __init__(
        self, fd: int, block_size: int, block_count: int, *, cooked: bool = ..., taken: int = ..., excluded: int = ...
    ) -> None: ...
    def read(self) -> FrameBatch | None:
        """Give the block that was given before back to the kernel, and the frames of the next one: ``None`` when there
        is none yet.
        """
    def give_back(self) -> None:
        """Give the block that was read last back to the kernel."""
