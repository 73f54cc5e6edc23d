from collections.abc import Callable
from typing import Any, final

from otus_core import FlowRegistry

@final
class Sessions:
    capacity: int
    ttl: float
    evicted: int
    def __init__(
        self, flows: FlowRegistry | None, publish: Callable[[Any], None] | None, capacity: int, ttl: float
    ) -> None: ...
    def __len__(self) -> int: ...
    def take(self, message: Any) -> None: ...
