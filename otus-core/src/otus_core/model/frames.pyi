from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import final

from otus_core.model.metadata import FrameMetadata

FRAME_INDEX_FORMAT: str
INDEX_SIZE: int

@final
class RawPacket:
    data: bytes
    timestamp: int
    orig_len: int
    interface_index: int
    link_type: int
    metadata: FrameMetadata | None
    def __init__(
        self,
        data: bytes,
        timestamp: int,
        orig_len: int | None = None,
        interface_index: int = 0,
        link_type: int = 1,
        metadata: FrameMetadata | Mapping[str, str] | None = None,
    ) -> None: ...
    @property
    def capture_len(self) -> int: ...

@final
class FrameBatch:
    count: int
    metadata: tuple[FrameMetadata, ...]
    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        index: bytes | bytearray | memoryview,
        count: int | None = None,
        metadata: Sequence[FrameMetadata | Mapping[str, str]] = (),
    ) -> None: ...
    @staticmethod
    def from_frames(
        frames: Iterable[RawPacket | tuple[int, bytes]], link_type: int = 1, interface_index: int = 0
    ) -> FrameBatch: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[RawPacket]: ...
    def __getitem__(self, i: int, /) -> RawPacket: ...

EMPTY: FrameBatch
