from typing import Any, final

@final
class FlowMatch:
    owner: Any
    destination: Any
    source: Any
    score: int
    begun: int
    @property
    def context(self) -> Any: ...
