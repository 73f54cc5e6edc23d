"""What a component of each kind does: base classes with the methods that the core calls.

Inheriting is convenient, not required: a plain class with these methods works as well. The life of every component:
made by its factory with its configuration → ``wire(context)`` → ``start()`` → work → ``stop()``, which is called
exactly once, also after a failed ``start``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from otus_core.values import frozen

if TYPE_CHECKING:
    from otus_core.context import Context
    from otus_core.errors import ParseError
    from otus_core.model.flow_key import FlowKey
    from otus_core.model.frames import FrameBatch
    from otus_core.model.output import OutputPacket, Parsed
    from otus_core.model.packet import DecodedPacket
    from otus_core.model.record import Record


class Consumed:
    """The class of ``CONSUMED`` alone."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "CONSUMED"


CONSUMED = Consumed()
"""What ``handle`` and ``take`` of a parser, and ``process`` of a processor, return for what they have taken in and that
goes no further, such as a media packet that is counted in its stream. It is no drop: it counts as ``consumed``."""


class _Lifecycle:
    """What all kinds have in common; every method is optional."""

    def wire(self, context: Context) -> None:
        """Take what the component needs from its surroundings."""


@frozen
class CaptureStats:
    """Totals since ``open``, in frames.

    ``received``: offered by the source. ``dropped``: lost before they could be read. ``interface_dropped``: dropped by
    the interface. ``excluded``: left out because they belong to Otus's own connections.
    """

    received: int = 0
    dropped: int = 0
    interface_dropped: int = 0
    excluded: int = 0


class BaseCapturer(_Lifecycle):
    """Gives frames.

    The core calls ``open(shard, shards, fds)``, then ``read()`` until it returns ``None``, then ``close()``. Opening
    what needs special rights is split off into ``acquire``; the descriptors that it returns arrive as ``fds``.
    """

    rereads: bool = False
    """Whether the frames that were given last can be given again to a later worker, up to the next ``read()``, because
    what ``fds`` stand for still holds them."""

    @classmethod
    def acquire(cls, config: Any, shard: int, shards: int, state: dict[str, Any]) -> list[int]:
        """Open what needs privilege, and return the descriptors.

        Raises OSError or CaptureError; unless the error is fatal, it is tried again. For a ``privileged`` capturer this
        runs in the opener process, for any other in the worker before it gives up its rights. ``state`` is empty at
        first, and is kept from one call to the next, for all shards of the task.
        """
        return []

    def resume(self, taken: int, stats: CaptureStats) -> None:
        """Prepare to continue after an earlier worker of this shard died; called before ``open``.

        ``taken`` frames are done with; the last of them may have killed the worker. ``stats`` are the totals that the
        earlier worker had reported. Give what is left in ``fds``, without the frames that were taken. If ``rereads``
        is true, the earlier worker may have received more frames than ``taken``: give those again.
        """

    def open(self, shard: int = 0, shards: int = 1, fds: Sequence[int] = ()) -> None:
        """Open the source, or this worker's share of it. ``fds`` are the capturer's to close. Raises CaptureError."""

    def read(self) -> FrameBatch | None:
        """Return the next frames: an empty batch when nothing is ready, ``None`` when the source has ended.

        The batch's buffer may be reused at the next ``read()`` or ``close()``. Raises CaptureError; unless the error is
        fatal, reading may continue.
        """
        raise NotImplementedError

    def fileno(self) -> int | None:
        """Descriptor that becomes readable when frames are ready, or ``None`` where there is none."""
        return None

    def wait_hint(self) -> float | None:
        """How long until frames are due, in seconds, or ``None`` if the source does not know."""
        return None

    def progress(self) -> float | None:
        """How much of the source has been read, from 0 to 1, or ``None`` if that cannot be known."""
        return None

    def wants_descriptors(self) -> bool:
        """Say whether new descriptors are needed, because what the old ones stood for is gone.

        ``acquire`` is then called again.
        """
        return False

    def reopen(self, fds: Sequence[int]) -> None:
        """Continue with new descriptors. Raises CaptureError."""

    def trouble(self) -> str:
        """Say why nothing comes in at the moment although nothing failed, such as a link that is down; else empty.

        Asked about twice a second.
        """
        return ""

    def exclude(self, connections: Sequence[tuple[str, int, str, int]]) -> None:
        """From now on, leave out these TCP connections of Otus's own; ``stats`` counts the frames that are left out.

        Each is given as local address and port, remote address and port.
        """

    def halt(self) -> None:
        """Take in nothing more.

        What was taken in can still be read, until ``read`` returns ``None`` or an empty batch.
        """

    def stats(self) -> CaptureStats:
        """Totals since ``open``."""
        return CaptureStats()

    def close(self) -> None:
        """Release everything; called once."""


class _Timely(_Lifecycle):
    """What parsers and processors have in common: they may speak when no packet does.

    A component with a ``tick`` of its own sets ``tick_interval``, in seconds, from 0.1 to 86,400; it may do so in its
    constructor, from its configuration. Packet time is the time of the packets, in ns since 1970; on a live source it
    goes on while nothing comes in. Intervals begin at multiples of themselves since 1970, so that they are the same in
    all workers; packets that are further apart than an interval cause one tick, not one for each interval.
    """

    tick_interval: float = 0.0

    def tick(self, now: int) -> Iterable[Record] | None:
        """The packet clock says ``now``, and an interval has passed: emit what is due.

        Emit with ``context.emit``, or return an iterator of records, such as a generator, if there may be many: no
        packet is taken before it has ended.
        """
        return None

    def finish(self, now: int) -> Iterable[Record] | None:
        """The source has ended, or the task stops: emit what is open, as in ``tick``. Called once, before ``stop``.

        Parsers finish first, and then processors in their order, so that each has seen the records of those before it.
        """
        return None

    def on_route(self, key: str, message: Any) -> None:
        """Take what this component routed, here or in another worker, because this worker owns the key."""


class BaseParser(_Timely):
    """Understands one protocol.

    Write either ``can_handle`` and ``handle``, or ``take`` alone, if what the first finds out serves the second; and if
    ``streams`` are declared, ``frame(data: bytes, at: int) -> int`` and ``resync(data: bytes, at: int) -> int``.
    """

    def start(self) -> None:
        """Get ready for packets."""

    def stop(self) -> None:
        """Give everything back."""

    def take(self, packet: DecodedPacket) -> Parsed | Sequence[Parsed | ParseError] | Consumed | None:
        """Parse one packet, as ``handle`` does, or return ``None`` if it is not ours: the next parser is then asked.

        If a class has a ``take`` of its own, the pipeline calls nothing else. It is asked about every packet of the
        declared transports, so it has to say no quickly.
        """
        return self.handle(packet) if self.can_handle(packet) else None

    def can_handle(self, packet: DecodedPacket) -> bool:
        """Say quickly, and without side effects, whether this packet is ours."""
        raise NotImplementedError

    def handle(self, packet: DecodedPacket) -> Parsed | Sequence[Parsed | ParseError] | Consumed:
        """Parse one packet that ``can_handle`` accepted.

        Returns a list if the packet holds several messages, an empty one if there is nothing to report, and
        ``CONSUMED`` if the packet was taken into something that a record will tell of. Raises
        ParseError and nothing else. A ParseError in the list stands for a message that could not be read, and is
        counted as if it had been raised.
        """
        raise NotImplementedError

    def on_peer_message(self, message: Any) -> None:
        """Take a message that this parser published in a sibling worker."""

    def on_announce(self, owner: Any, keys: Sequence[FlowKey], context: Any) -> None:
        """Hear what was announced in ``context.flows``: the endpoints ``keys``, ``context`` and ``owner``.

        Called in parsers that have this method, for what any parser of the task announced, this one and those in
        sibling workers too: before the next packet, when the source is idle, and before ``finish``. ``keys`` are empty
        for news that concern no endpoint.
        """

    def on_flow_end(self, key: FlowKey, context: Any) -> None:
        """Hear that a flow or an endpoint has gone from ``context.flows``, or that ``context`` no longer holds for it.

        Called in parsers that have this method, for whatever was looked up there with ``get``, ``find`` or
        ``candidates`` since it was registered: before the next packet, or when the source is idle. What was registered
        anew with another context ends too; look it up again. What is still there at the end of a capture does not end.
        """


class BaseProcessor(_Timely):
    """Looks at each message and record of the payload types that it ``accepts``, reads and writes its labels, and
    decides whether it stays.
    """

    def start(self) -> None:
        """Get ready for packets."""

    def stop(self) -> None:
        """Give everything back."""

    def process(self, output: OutputPacket) -> bool | Consumed:
        """Return whether the message stays; false drops it, ``CONSUMED`` takes it in.

        ``payload`` and ``raw_payload`` stay as they are, unless the processor declares ``rewrites``: then
        ``output.replace(payload=…, raw_payload=…)`` puts others in their place.
        """
        raise NotImplementedError

    def before_finish(self, now: int) -> Iterator[None] | None:
        """The source has ended for all workers, and what they had routed is here: route what is open. For processors
        that declare ``routes``; called once, before any worker calls ``finish``.

        Write a generator: at each ``yield`` the workers wait for each other, and it goes on when what all of them had
        routed has been taken by ``on_route``. What that routes in answer arrives at the next ``yield``, and the last of
        it before ``finish``. A generator may take 256 rounds, and five seconds.
        """
        return None


Some = int | Sequence[int]
"""How many messages of a batch, or which: their places in it, counted from 0."""


@frozen
class ReportResult:
    """The fate of a batch.

    ``reported`` messages were acknowledged. The others are given by reason, as a count or as their places in the batch:

    - ``failed``: given up. They go to the reporter's fallback, and are dropped if there is none.
    - ``final``: nobody could send them. They are dropped.
    - ``retry``: they certainly did not arrive, and may later. The core offers them again after a pause.

    Give places where you can: if only a part of the batch was reported, messages without a place can neither be moved
    to the fallback nor offered again.
    """

    reported: int = 0
    failed: Mapping[str, Some] = attrs.field(factory=dict)
    retry: Mapping[str, Some] = attrs.field(factory=dict)
    final: Mapping[str, Some] = attrs.field(factory=dict)


class BaseReporter(_Lifecycle):
    """Sends batches to a destination. All its methods run on the worker's event loop, beside the pipeline.

    A method named ``otus_task_state_changed`` and marked with ``hookimpl`` is called in each worker of a daemon's task
    when any task of the node changes its state, while this worker runs. It must not wait for anything. It learns of the
    end of its own task only if the worker is still there.
    """

    async def start(self) -> None:
        """Connect. A destination that is down need not be an error: reports may simply fail until it is there."""

    async def stop(self) -> None:
        """Disconnect and give everything back."""

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        """Send one batch; returns when the fate of every message in it is known.

        OSError (a refused connection, a name that is not found) means that the destination cannot be reached: the batch
        is offered again, as with ``retry``. Any other exception counts as a fault of this reporter, and the batch as
        ``failed`` after ``max_retries`` more tries. A call that takes longer than ``send_timeout`` is cancelled, and
        its batch may have arrived. The core opens up to ``max_in_flight`` of these calls at a time.
        """
        raise NotImplementedError

    async def flush(self) -> None:
        """Send what the reporter itself still holds."""

    def status(self) -> Mapping[str, Any]:
        """Say how the destination is: ``state`` (``connected`` when it answers), ``reason`` why it does not, and
        whatever else is worth showing.

        Asked for twice a second. Empty where there is nothing to tell; a task counts as degraded while ``state`` is
        another one or there is a ``reason``.
        """
        return {}


class CommandHandler(Protocol):
    """What the daemon gives a command channel: executes one command and returns its JSON-RPC style result or error."""

    async def __call__(self, command: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Execute one command; gives ``{"result": …}`` or ``{"error": …}``."""
        ...


class BaseCommandChannel(_Lifecycle):
    """Feeds commands from elsewhere to the daemon and carries the answers back.

    A method named ``otus_task_state_changed`` and marked with ``hookimpl`` is called at each change of a task's state,
    as that of a plugin's module is: from ``wire`` to ``stop``, on the event loop, so it must not wait for anything.
    """

    async def start(self, handler: CommandHandler) -> None:
        """Connect in the background; must not fail because the other side is down."""

    async def stop(self) -> None:
        """Send the answer that the handler has just given, which may be the one to ``daemon_shutdown``; disconnect.

        It has five seconds, whatever is still being executed.
        """

    def status(self) -> Mapping[str, Any]:
        """State for ``daemon_status``: connected or not, the last error, counters.

        ``connected`` and the number of ``namesakes``, a mapping of other processes that use this node's name to a text
        about each, are metrics too.
        """
        return {}
