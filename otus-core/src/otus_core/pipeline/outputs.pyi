from collections.abc import Callable, Iterable

from typing_extensions import disjoint_base

from otus_core.model.accounts import Accounts
from otus_core.model.output import OutputPacket
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.slots import ProcessorSlot

@disjoint_base
class Outputs:
    processors: tuple[ProcessorSlot, ...]
    tap: Callable[[OutputPacket], object] | None
    def __init__(
        self,
        *,
        accounts: Accounts,
        processors: Iterable[ProcessorSlot],
        buffers: Iterable[SendBuffer],
        task_id: str,
        agent_id: str,
        pipeline_id: int,
        on_error: Callable[[str, str, BaseException], None],
        waits: bool,
    ) -> None: ...
    @property
    def full(self) -> bool: ...
