from collections.abc import Callable
from typing import Any, final

from otus_core import FlowRegistry

@final
class Sessions:
    capacity: int
    ttl: float
    weight_max: int
    evicted: int
    def __init__(
        self, flows: FlowRegistry | None, publish: Callable[[Any], None] | None, capacity: int, ttl: float
    ) -> None: ...
    @property
    def weight(self) -> int: ...
    def __len__(self) -> int: ...
    def take(self, message: Any) -> None: ...
