from collections.abc import Sequence
from typing import Any, final

@final
class Framer:
    name: str
    protocols: frozenset[str]
    def __init__(self, name: str, component: Any, streams: Sequence[str], ports: Sequence[int], mark: int) -> None: ...
