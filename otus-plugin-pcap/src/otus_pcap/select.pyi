from collections.abc import Callable
from typing import final

@final
class Selection:
    index: bytearray
    count: int
    def __init__(self, shard: int = 0, shards: int = 1, compile: Callable[[int], bytes] | None = None) -> None: ...
    def clear(self) -> None: ...
