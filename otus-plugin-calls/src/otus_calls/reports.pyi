from collections.abc import Callable
from typing import Any, final

from otus_calls.config import CallsConfig
from otus_calls.replay import Outcome
from otus_calls.table import Call
from otus_core import Context, Record

@final
class Telling:
    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]: ...

@final
class Reports:
    def __init__(self, config: CallsConfig) -> None: ...
    def wire(self, context: Context, add_figures: Callable[[Outcome], None] | None) -> None: ...
    def report(self, call: Call, now: int, ended: str) -> Record: ...
    def interim(self, call: Call, now: int) -> Record: ...
