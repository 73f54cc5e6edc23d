from collections.abc import Callable, Iterable
from typing import final

from otus_core.decode.decoder import Decoder
from otus_core.errors import ParseError
from otus_core.model.accounts import Accounts
from otus_core.model.flows import FlowRegistry
from otus_core.model.frames import FrameBatch
from otus_core.model.packet import DecodedPacket
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.slots import ParserSlot, ProcessorSlot
from otus_core.pipeline.turns import Turns
from otus_core.stream.streams import Streams

@final
class Pipeline(Turns):
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
        on_refused: Callable[[str, ParseError, DecodedPacket], None] = ...,
        streams: Streams | None = None,
    ) -> None: ...
    def process(self, batch: FrameBatch, start: int, most: int, slice_ns: int) -> int: ...
    def advance(self, now: int) -> bool: ...
    def finish(self) -> None: ...
