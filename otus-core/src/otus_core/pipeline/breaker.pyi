from typing import final

@final
class Breaker:
    kind: str
    name: str
    def __init__(self, kind: str, name: str, errors: int) -> None: ...
    @property
    def state(self) -> str: ...
    def open_for(self, seconds: float) -> None: ...
