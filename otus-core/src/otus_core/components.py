"""What a component of each kind does: base classes with the methods that the core calls.

Inheriting is convenient, not required: a plain class with these methods works as well. The life of every component:
made by its factory with its configuration → ``wire(context)`` → ``start()`` → work → ``stop()``, which is called
exactly once, also after a failed ``start``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from otus_core.errors import ParseError
    from otus_core.model.flows import FlowRegistry
    from otus_core.model.frames import FrameBatch
    from otus_core.model.output import OutputPacket, Parsed
    from otus_core.model.packet import DecodedPacket


class LineWriter(Protocol):
    """The way to standard output. Only the parent process writes there, so components hand whole lines over."""

    isatty: bool

    async def write(self, lines: bytes) -> None:
        """Hand over one or more whole lines; waits while the other side is slow.

        Raises StdoutClosed, a BrokenPipeError, when it is gone.

        A reporter lets that error pass: it tells the core that nobody reads any more.
        """
        ...


@attrs.frozen(kw_only=True, eq=False)
class Context:
    """What a component is wired to.

    ``flows`` is given to parsers that declare ``wants_flows``; ``stdout`` to reporters. ``peers`` publishes small
    messages to the same component in the sibling workers of the task (``None`` with a single worker). ``call_labels``
    gives, by payload type, the label that tells calls apart, where the parser declares one. ``data_dir`` is given to
    command channels, for what must survive a restart. ``count(name)`` adds 1 to one of the ``counters`` that a parser
    declares, or to one of what it says is ``hidden``. ``instance`` is given to command channels: it names this run of
    the daemon, and tells it from another one with the same ``hostname``. ``has_fallback`` and ``has_spool`` tell a
    reporter what becomes of messages that it gives up.
    """

    task_id: str
    agent_id: str
    pipeline_id: int = 0
    component_id: str = ""
    hostname: str = ""
    node_ip: str = ""
    tags: Mapping[str, str] = attrs.field(factory=dict)
    flows: FlowRegistry | None = None
    stdout: LineWriter | None = None
    peers: Callable[[Any], None] | None = None
    call_labels: Mapping[str, str] = attrs.field(factory=dict)
    data_dir: str = ""
    instance: str = ""
    count: Callable[[str], None] = attrs.field(default=lambda _counter: None)
    has_fallback: bool = False
    has_spool: bool = False


class _Lifecycle:
    """The part of the life that all kinds share; every method may be left as it is."""

    def wire(self, context: Context) -> None:
        """Take what the component needs from its surroundings."""


@attrs.frozen
class CaptureStats:
    """Totals since ``open``: frames the source offered, dropped before they could be read, dropped by the interface, of
    Otus's own connections and left out.
    """

    received: int = 0
    dropped: int = 0
    interface_dropped: int = 0
    excluded: int = 0


class BaseCapturer(_Lifecycle):
    """Gives frames.

    ``open(shard, shards, fds)`` → ``read()`` until it returns ``None`` → ``close()``. What takes rights to open is
    split off in ``acquire``; what that returns arrives as ``fds``.
    """

    rereads: bool = False
    """Whether the frames given last can be given again to a worker to come, up to the next ``read()``: what ``fds``
    stand for still holds them.
    """

    @classmethod
    def acquire(cls, config: Any, shard: int, shards: int, state: dict[str, Any]) -> list[int]:
        """Open what needs privilege and return the descriptors.

        Raises OSError or CaptureError; unless that is fatal, it is tried again.

        That of a ``privileged`` capturer runs in the opener process, any other's in the worker before it gives up its
        rights. ``state`` is empty at first and kept from one call to the next, of all the task's shards.
        """
        return []

    def resume(self, taken: int, stats: CaptureStats) -> None:
        """Called before ``open`` when an earlier worker of this shard died: ``taken`` frames are done with, the last of
        which may have killed it.

        It may have been given more than those, where ``rereads`` says so: they are to be given again. ``stats`` are the
        totals that it had told. What is left in ``fds`` is to be given, the frames already taken not again.
        """

    def open(self, shard: int = 0, shards: int = 1, fds: Sequence[int] = ()) -> None:
        """Open the source, or this worker's share of it. ``fds`` are the capturer's to close. Raises CaptureError."""

    def read(self) -> FrameBatch | None:
        """Give the next frames: an empty batch when nothing is ready, ``None`` when the source has ended.

        The batch's buffer may be reused at the next ``read()`` or ``close()``. Raises CaptureError; unless that is
        fatal, reading may go on.
        """
        raise NotImplementedError

    def fileno(self) -> int | None:
        """Descriptor that becomes readable when frames are ready, or ``None`` where there is none."""
        return None

    def wait_hint(self) -> float | None:
        """How long until frames are due, in seconds, for a source that knows; ``None`` where it does not."""
        return None

    def progress(self) -> float | None:
        """How much of the source has been read, 0 to 1, or ``None`` when that cannot be known."""
        return None

    def wants_descriptors(self) -> bool:
        """Say whether new descriptors are needed, because what the old ones stood for is gone; ``acquire`` is then
        called again.
        """
        return False

    def reopen(self, fds: Sequence[int]) -> None:
        """Go on with new descriptors. Raises CaptureError."""

    def trouble(self) -> str:
        """Why nothing comes in at the moment although nothing failed (a link that is down), or empty.

        Asked about twice a second.
        """
        return ""

    def exclude(self, connections: Sequence[tuple[str, int, str, int]]) -> None:
        """Leave out Otus's own TCP connections from now on: local address and port, remote address and port.

        ``stats`` counts the frames that are left out.
        """

    def halt(self) -> None:
        """Take in nothing more; what has been taken in can still be read, until ``read`` gives ``None`` or an empty
        batch.
        """

    def stats(self) -> CaptureStats:
        """Totals since ``open``."""
        return CaptureStats()

    def close(self) -> None:
        """Give everything back; called once."""


class BaseParser(_Lifecycle):
    """Understands one protocol: by ``can_handle`` and ``handle``, or by ``take`` alone where what the first finds out
    serves the second.
    """

    def start(self) -> None:
        """Get ready for packets."""

    def stop(self) -> None:
        """Give everything back."""

    def take(self, packet: DecodedPacket) -> Parsed | Sequence[Parsed | ParseError] | None:
        """Parse one packet, or give ``None``: it is not ours, and the next parser is asked. Else as ``handle``.

        Where a class has a ``take`` of its own the pipeline calls nothing else: it is asked for every packet, so it has
        to say no quickly.
        """
        return self.handle(packet) if self.can_handle(packet) else None

    def can_handle(self, packet: DecodedPacket) -> bool:
        """Say quickly, and without side effect, whether this packet is ours."""
        raise NotImplementedError

    def handle(self, packet: DecodedPacket) -> Parsed | Sequence[Parsed | ParseError]:
        """Parse one packet that ``can_handle`` accepted.

        A list where it holds several messages, an empty one where there is nothing to report.

        Raises ParseError and nothing else; a list has one in the place of a message that could not be read, which is
        counted as if it had been raised.
        """
        raise NotImplementedError

    def on_peer_message(self, message: Any) -> None:
        """Take a message that this parser published in a sibling worker."""


class BaseProcessor(_Lifecycle):
    """Looks at each output's envelope, reads and writes its labels, and decides whether it stays."""

    def start(self) -> None:
        """Get ready for packets."""

    def stop(self) -> None:
        """Give everything back."""

    def process(self, output: OutputPacket) -> bool:
        """Say whether the packet stays; false drops it. ``payload`` and ``raw_payload`` are not to be touched."""
        raise NotImplementedError


Some = int | Sequence[int]
"""How many messages of a batch, or which: their places in it, from 0."""


@attrs.frozen
class ReportResult:
    """The fate of a batch: ``reported`` messages were acknowledged, the others are told by reason, as a count or as
    their places in the batch.

    ``failed``: given up; they go to the reporter's fallback, and are dropped where there is none. ``final``: nobody
    could do anything with them, they are dropped. ``retry``: they surely did not arrive, and may later; the core offers
    them again after a pause. Say places where you can: of a batch that was reported in part, only those can be moved to
    the fallback or offered again.
    """

    reported: int = 0
    failed: Mapping[str, Some] = attrs.field(factory=dict)
    retry: Mapping[str, Some] = attrs.field(factory=dict)
    final: Mapping[str, Some] = attrs.field(factory=dict)


class BaseReporter(_Lifecycle):
    """Carries batches to a destination. All its methods run on the worker's event loop, beside the pipeline.

    A method named ``otus_task_state_changed`` and marked with ``hookimpl`` is called in each worker of a daemon's task
    when any task of the node changes its state, while this worker runs. It must not wait for anything. It hears of its
    own task's end only as far as the worker is still there.
    """

    async def start(self) -> None:
        """Connect. A destination that is down need not be an error: reports may simply fail until it is there."""

    async def stop(self) -> None:
        """Disconnect and give everything back."""

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        """Send one batch; returns when the fate of every message in it is known.

        OSError (a refused connection, a name that is not found) says that the destination cannot be reached: the batch
        is offered again, as with ``retry``. Any other exception is taken for a fault of this reporter; the batch counts
        as ``failed`` after ``max_retries`` further tries. What takes longer than ``send_timeout`` is cancelled, and may
        have arrived. The core opens up to ``max_in_flight`` of these calls at a time.
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
        """Disconnect."""

    def status(self) -> Mapping[str, Any]:
        """State for ``daemon_status``: connected or not, the last error, counters.

        ``connected`` and the number of ``namesakes``, a mapping of other processes that use this node's name to a text
        about each, are metrics too.
        """
        return {}
