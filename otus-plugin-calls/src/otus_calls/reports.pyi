from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

from otus_calls.config import CallsConfig
from otus_calls.likely import Likely
from otus_calls.replay import Outcome
from otus_calls.table import Call, Table
from otus_core import Context, Record

@final
class Telling:
    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]: ...

@final
class Reports:
    def __init__(self, config: CallsConfig) -> None: ...
    def wire(self, context: Context, add_figures: Callable[[Outcome], None] | None) -> None: ...
    def report(self, call: Call, now: int, ended: str) -> Record: ...
    def ended(self, calls: list[Call], now: int, table: Table) -> Iterator[Record]: ...
    def finish(
        self,
        calls: list[Call],
        now: int,
        table: Table,
        likely: Likely | None,
        compare: Callable[[int, Sequence[int]], None],
    ) -> Iterator[Record]: ...
    def interim(self, call: Call, now: int) -> Record: ...
