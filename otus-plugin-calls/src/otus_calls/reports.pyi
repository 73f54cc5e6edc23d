from collections.abc import Callable
from typing import final

from otus_calls.config import CallsConfig
from otus_calls.replay import Outcome
from otus_calls.table import Call
from otus_core import Context, Record

@final
class Telling:
    def __call__(self) -> dict[str, object]: ...

@final
class Reports:
    def __init__(self, config: CallsConfig) -> None: ...
    def wire(self, context: Context, add_figures: Callable[[Outcome], None] | None) -> None: ...
    def report(self, call: Call, now: int, ended: str) -> Record: ...
    def interim(self, call: Call, now: int) -> Record: ...
