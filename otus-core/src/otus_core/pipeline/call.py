"""One batch on its way to a reporter, what bounds it, and the order in which deliveries end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from otus_core.model.output import OutputPacket
from otus_core.values import define, frozen

if TYPE_CHECKING:
    from otus_core.pipeline.spool import Range

ABANDON_S = 1.0
"""Time for a cancelled reporter to close what it has open; after it the process ends all the same."""
STALLED_S = 30.0
"""Once a source has ended, its reporters are waited for while something is reported now and then."""
SPOOLED_STALLED_S = 5.0
"""With a spool not so long: what is left waits there."""
SPOOL_AFTER_NS = 1_000_000_000
"""A call that takes longer tells that the destination may be away: from then on packets go to disk."""


class HandsOver(Protocol):
    """Who may hand packets to another one."""

    @property
    def fallback(self) -> Any:
        """Who gets what is given up, or ``None``."""


D = TypeVar("D", bound=HandsOver)


@frozen(kw_only=True, eq=False)
class DeliveryLimits:
    """What bounds the delivery to one reporter; times are in seconds."""

    batch_size: int
    batch_timeout: float
    send_timeout: float
    max_retries: int
    max_in_flight: int
    own_retries: bool


def patience(limits: DeliveryLimits, *, spooled: bool) -> float:
    """Give for how many seconds a reporter may stand still at the end before it is given up."""
    return SPOOLED_STALLED_S if spooled else max(STALLED_S, 2 * limits.send_timeout)


@define(eq=False)
class Call:
    """One batch on its way. ``batch`` is what is left of it: packets whose fate is not known."""

    batch: list[OutputPacket]
    begun_ns: int
    asked_at: float = 0.0
    task: asyncio.Task[None] | None = None
    left: bool = False
    is_retried: bool = False
    range: Range | None = None

    @property
    def is_on_disk(self) -> bool:
        """Whether a spool holds these packets too."""
        return self.range is not None and not self.range.is_gone


def follows_a_retry(call: Call, calls: Iterable[Call]) -> bool:
    """Whether an older one of these calls is tried again."""
    for other in calls:
        if other is call:
            break
        if other.is_retried:
            return True
    return False


def drain_order(deliveries: Iterable[D]) -> Iterator[list[D]]:
    """Give the deliveries in groups: each after all those that hand over to it."""
    left = list(deliveries)
    while left:
        # Fallbacks form no circle, which ``task/wiring`` has checked: each round gives at least one.
        awaited = {id(delivery.fallback) for delivery in left}
        group = [delivery for delivery in left if id(delivery) not in awaited]
        yield group
        left = [delivery for delivery in left if delivery not in group]


async def end_tasks(tasks: Iterable[asyncio.Task[None] | None]) -> None:
    """Cancel tasks and wait for them, no longer than for a moment: a reporter may not heed it."""
    running = {task for task in tasks if task is not None and not task.done()}
    for task in running:
        task.cancel()
    if running:
        done, _ = await asyncio.wait(running, timeout=ABANDON_S)
        for task in done:
            with contextlib.suppress(BaseException):
                task.exception()
