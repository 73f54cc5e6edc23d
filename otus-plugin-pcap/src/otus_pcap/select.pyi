from collections.abc import Callable
from typing import final

from otus_pcap.chunk import Chunk

@final
class Selection:
    index: bytearray
    count: int
    def __init__(self, shard: int = 0, shards: int = 1, compile: Callable[[int], bytes] | None = None) -> None: ...
    def clear(self) -> None: ...
    def narrow(self, chunk: Chunk) -> bool: ...
