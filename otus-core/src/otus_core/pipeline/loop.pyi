from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

from otus_core.decode.decoder import Decoder
from otus_core.model.accounts import Accounts
from otus_core.model.flows import FlowRegistry
from otus_core.model.frames import FrameBatch
from otus_core.pipeline.breaker import Breaker
from otus_core.pipeline.buffer import SendBuffer

TRANSPORTS: dict[str, int]

@final
class ParserSlot:
    breaker: Breaker
    def __init__(
        self,
        accounts: Accounts,
        name: str,
        component: Any,
        payload_types: Sequence[str],
        transports: Iterable[str],
        mark: int,
    ) -> None: ...

@final
class ProcessorSlot:
    breaker: Breaker
    def __init__(self, accounts: Accounts, name: str, component: Any, passes: bool, mark: int) -> None: ...

@final
class Pipeline:
    clock: int
    def __init__(
        self,
        *,
        accounts: Accounts,
        decoder: Decoder,
        flows: FlowRegistry,
        parsers: Iterable[ParserSlot],
        processors: Iterable[ProcessorSlot],
        buffers: Iterable[SendBuffer],
        task_id: str,
        agent_id: str,
        pipeline_id: int,
        on_error: Callable[[str, str, BaseException], None],
        forward_unmatched: bool = False,
        live: bool = False,
    ) -> None: ...
    @property
    def breakers(self) -> list[Breaker]: ...
    @property
    def full(self) -> bool: ...
    def process(self, batch: FrameBatch, start: int, most: int, slice_ns: int) -> int: ...
    def advance(self, now: int) -> None: ...
    def finish(self) -> None: ...
