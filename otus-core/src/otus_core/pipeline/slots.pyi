from collections.abc import Iterable, Sequence
from typing import Any, final

from typing_extensions import disjoint_base

from otus_core.model.accounts import Accounts
from otus_core.pipeline.breaker import Breaker
from otus_core.stream.framer import Framer

RECORDS_MAX: int
TICK_LEAST_S: float
TICK_MOST_S: float
TRANSPORTS: dict[str, int]

@final
class Outbox:
    name: str
    closed: bool
    def __init__(self, name: str, payload_types: Iterable[str], most: int = ...) -> None: ...
    def emit(self, record: Any) -> None: ...
    def check(self, record: Any) -> None: ...

@disjoint_base
class Slot:
    breaker: Breaker
    component: Any
    outbox: Outbox
    interval: int
    def __init__(
        self, kind: str, accounts: Accounts, name: str, component: Any, mark: int, outbox: Outbox | None
    ) -> None: ...

@final
class ParserSlot(Slot):
    def __init__(
        self,
        accounts: Accounts,
        name: str,
        component: Any,
        payload_types: Sequence[str],
        transports: Iterable[str],
        mark: int,
        outbox: Outbox | None = None,
        failure_reasons: Iterable[str] = (),
        framer: Framer | None = None,
    ) -> None: ...
    @property
    def framer(self) -> Framer | None: ...

@final
class ProcessorSlot(Slot):
    before_finish: Any
    def __init__(
        self,
        accounts: Accounts,
        name: str,
        component: Any,
        passes: bool,
        mark: int,
        *,
        accepts: Iterable[str] = (),
        rewrites: bool = False,
        outbox: Outbox | None = None,
    ) -> None: ...
