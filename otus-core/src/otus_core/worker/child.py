"""A worker process: one pipeline, told what to do by its parent over a channel.

    python -P -c "from otus_core.worker.child import main; main()" CHANNEL_FD PARENT_PID

What it is told, and says, is in ``process/messages``: ``ToWorker`` and ``FromWorker``.
"""

from __future__ import annotations

import asyncio
import marshal
import mmap
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from otus_core import chores
from otus_core.chores import Chores
from otus_core.errors import CaptureError, OtusError
from otus_core.log import Logger, settle
from otus_core.logs.events import setup_forwarding
from otus_core.logs.repeats import Repeats
from otus_core.model.text import tell
from otus_core.plugins import component_hooks  # noqa: F401 - for Registry.attach: seal() may take the right to read it
from otus_core.plugins.loader import load
from otus_core.plugins.registry import Registry
from otus_core.process.channel import Channel
from otus_core.process.connections import Connection
from otus_core.process.messages import (
    TO_WORKER,
    Arrived,
    Chore,
    Columns,
    Components,
    Connections,
    Descriptors,
    Ended,
    Exclude,
    Failed,
    Fault,
    InitWorker,
    Log,
    LogLevel,
    Met,
    Publish,
    PublishLost,
    Reporters,
    Route,
    Routed,
    RouteLost,
    Started,
    Stop,
    Tap,
    Tapped,
    TaskState,
    ToWorker,
    Trouble,
    Untap,
    WantDescriptors,
)
from otus_core.process.output import PipeWriter
from otus_core.process.privilege import acquire, die_with_parent, seal
from otus_core.process.signals import ENDING, hear, ignore
from otus_core.task.config import load_task
from otus_core.worker.assembly import Assembly, Node, Place, assemble, name_left_out, origins
from otus_core.worker.course import Parent, unless
from otus_core.worker.routes import unpack
from otus_core.worker.status import Status, Told
from otus_core.worker.worker import Worker

log = Logger("otus.worker")

STARTED_EXIT = 0
# Not 1 or 2, with which Python itself ends a process that raises, or that is called wrongly.
FAILED_EXIT = 3
LAST_WORDS_S = 30.0
"""How long a busy parent may take to hear how this process ended; a parent that is gone ends it at once."""
PUBLISH_EVERY_S = 0.01
"""Siblings hear of a flow within 50 ms; this is a fifth of it."""
MEET_WITHIN_S = 3.0
"""How long a worker that has finished waits for what slower ones still route to it."""
EARLY_MAX = 256
"""Messages of siblings that are kept until the components of this worker are there."""
PUBLISH_MOST = 1024
"""Messages in one: applying them holds up the pipeline for a millisecond or so, and with the largest contexts they are
half of what a channel takes.
"""


class Telling(Parent):
    """What a worker tells, as messages to the parent process."""

    def __init__(self, channel: Channel[ToWorker]) -> None:
        self._channel = channel

    def tell_started(self, assembly: Assembly) -> None:
        """See ``Parent``."""
        self._channel.send(Started(tuple(assembly.roster.reporters), name_left_out(assembly)))

    def tell_fault(self, error: CaptureError) -> None:
        """See ``Parent``."""
        offset = error.offset if isinstance(error.offset, int) else None  # a plugin made it
        self._channel.send(Fault(str(error.source), str(error.reason), offset, bool(error.fatal)))

    def ask_descriptors(self) -> None:
        """See ``Parent``."""
        self._channel.send(WantDescriptors())

    def tell_trouble(self, reason: str) -> None:
        """See ``Parent``."""
        self._channel.send(Trouble(reason))

    def tell_reporters(self, statuses: Mapping[str, Status]) -> None:
        """See ``Parent``."""
        self._channel.send(Reporters(dict(statuses)))

    def tell_components(self, told: Told) -> None:
        """See ``Parent``."""
        self._channel.send(Components(dict(told)))

    def tell_connections(self, connections: Sequence[Connection]) -> None:
        """See ``Parent``."""
        self._channel.send(Connections(list(connections)))

    def tell_tapped(self, tapped: Tapped) -> None:
        """See ``Parent``."""
        self._channel.send(tapped)


class Child:
    """This process's side of the channel."""

    def __init__(self, channel: Channel[ToWorker]) -> None:
        self._channel = channel
        self._init: asyncio.Future[tuple[InitWorker, list[int]]] = asyncio.get_running_loop().create_future()
        self._worker: Worker | None = None
        self._registry: Registry | None = None
        self._stdout: PipeWriter | None = None
        self._ending = asyncio.Event()
        self._chores = Chores()
        self._log_lines_lost = 0
        self._shard, self._shards = 0, 1
        self._published: list[tuple[str, Any]] = []
        self._early: list[Publish] = []
        self._early_lost = 0
        self._stages: dict[str, asyncio.Future[bool]] = {}
        channel.on_message = self._hear
        # At once: without its parent nobody reads its lines or counters, and its socket keeps its share of the traffic.
        channel.on_closed = lambda _why: os._exit(FAILED_EXIT)
        channel.listen()

    async def run(self) -> int:
        """Wait for ``InitWorker``, run the pipeline, say how it ended; gives the exit status."""
        init, descriptors = await self._init
        try:
            worker = await unless(self._ending, self._build(init, descriptors))
            if worker is not None:
                await self._run(worker, init)
            await self._chores.stop()
            self._send_published()
            last: Failed | Ended = Ended()
        except OtusError as error:
            last = Failed(str(error))
        except BaseException as error:
            log.exception("worker_failed")
            last = Failed(tell(error))
        self._channel.send(last, needed=True)
        await self._channel.flush(LAST_WORDS_S)
        return STARTED_EXIT if isinstance(last, Ended) else FAILED_EXIT

    async def _run(self, worker: Worker, init: InitWorker) -> None:
        self._worker = worker
        # In the order in which siblings told them: a flow that has ended must not come to life again.
        for message in self._early:
            self._pass_on(worker, message, [])
        self._early.clear()
        self._lose_published(self._early_lost)
        if self._ending.is_set():
            worker.stop()
        if init.shards > 1:
            self._chores.start("worker:publish", self._publish)
        await worker.run()

    async def _build(self, init: InitWorker, descriptors: list[int]) -> Worker:
        counters_fd, output_fd, *capture = descriptors
        # Descriptors that came over a socket are inheritable, and a plugin may start processes.
        os.set_inheritable(counters_fd, False)
        # Before memory is touched: a page lies on the node of the CPU that first touches it (set_mempolicy(2),
        # MPOL_DEFAULT).
        if init.cpus:
            os.sched_setaffinity(0, init.cpus)
        # Rights are given up before a plugin is loaded; a source that is still to be opened needs them until then.
        if init.has_opener:
            seal(user=init.user)
        self._shard, self._shards = init.shard, init.shards
        setup_forwarding(init.log_level, self._log)
        chores.listen(lambda name, n: self._channel.send(Chore(str(name), n)))
        # Before plugins are loaded: what they leave on the loop may fail at any time from then on.
        chores.watch_loop("worker:callback")
        registry = load(init.plugins)
        config = load_task(init.task, registry)
        if not init.has_opener:
            capture = acquire(config.capture, init.shard, init.shards)
            seal(user=init.user)
        self._stdout = PipeWriter(output_fd, init.isatty, init.columns)
        counters = memoryview(mmap.mmap(counters_fd, 0))
        repeats = Repeats(origins(config))
        node = Node(hostname=init.hostname, ip=init.node_ip, tags=init.tags)
        place = Place(
            shard=init.shard,
            shards=init.shards,
            counters=counters[init.shard * init.counters_size : (init.shard + 1) * init.counters_size],
            descriptors=capture,
            stdout=self._stdout,
            publish=self._published.append if init.shards > 1 else None,
            secret=init.secret,
            meet=self._meet if init.shards > 1 else None,
            on_error=repeats.note_error,
            on_refused=repeats.note_refusal,
            on_waiting=Telling(self._channel).tell_trouble,
        )
        assembly = await assemble(config, node, place)
        for part in assembly.reporters:
            registry.attach(part.component, part.spec.record)
        self._registry = registry
        return Worker(assembly, node, place, Telling(self._channel), init.open_circuits)

    def _log(self, level: str, event: dict[str, Any]) -> None:
        """Forward one event; what a parent that does not read makes us lose is said when it reads again."""
        if self._log_lines_lost:
            lost = {"event": "log_lines_lost", "output": "daemon", "lines": self._log_lines_lost, "worker": self._shard}
            if self._channel.send(Log("warning", lost)):
                self._log_lines_lost = 0
        if not self._channel.send(Log(level, {**event, "worker": self._shard})):
            self._log_lines_lost += 1

    async def _publish(self) -> None:
        """Send what components publish: one message to the parent costs as much as many in one."""
        while True:
            await asyncio.sleep(PUBLISH_EVERY_S)
            self._send_published()

    def _send_published(self) -> None:
        for at in range(0, len(self._published), PUBLISH_MOST):
            some = self._published[at : at + PUBLISH_MOST]
            if not self._channel.send(Publish(len(some), marshal.dumps(some))):
                self._lose_published(len(some) * (self._shards - 1))
        self._published.clear()
        if self._worker is not None:
            self._worker.assembly.routes.send_all(lambda *routed: self._channel.send(Route(*routed)))

    def _lose_published(self, count: int) -> None:
        if self._worker is not None and count:
            self._worker.assembly.accounts.add("published_lost", count)

    def _keep_early(self, message: Publish) -> None:
        """Keep what siblings that were started before this one tell it."""
        if len(self._early) < EARLY_MAX:
            self._early.append(message)
        else:
            self._early_lost += message.count

    async def _meet(self, stage: str, more: bool) -> bool:
        """Wait until all workers have sent what they had to send before this stage, and it is here; takes and gives
        whether one of them wants another such stage.
        """
        self._send_published()
        # Behind what was routed, on one channel that keeps the order: who hears of it has had all that came before.
        self._channel.send(Arrived(stage, more), needed=True)
        try:
            async with asyncio.timeout(MEET_WITHIN_S):
                return await self._stage(stage)
        except TimeoutError:
            log.warning("workers_did_not_meet", stage=stage)
            return False

    def _stage(self, stage: str) -> asyncio.Future[bool]:
        return self._stages.setdefault(stage, asyncio.get_running_loop().create_future())

    def _hear(self, message: ToWorker, descriptors: list[int]) -> None:
        match message:
            case InitWorker():
                self._init.set_result((message, descriptors))
            case Stop():
                self._ending.set()
            case Met(stage, more) if not self._stage(stage).done():
                self._stage(stage).set_result(more)
            case LogLevel(level):
                setup_forwarding(level, self._log)
                settle()  # plugins may hold loggers of their own
            case Publish() if self._worker is None:
                self._keep_early(message)
            case Columns(columns) if self._stdout is not None:
                self._stdout.columns = columns
            case TaskState() if self._registry is not None:
                self._registry.call_attached("otus_task_state_changed", **attrs.asdict(message))
        if self._worker is not None:
            self._pass_on(self._worker, message, descriptors)

    def _pass_on(self, worker: Worker, message: ToWorker, descriptors: list[int]) -> None:
        match message:
            case Publish(_, packed):
                worker.take_peer_messages(marshal.loads(packed))
            case Routed(packed):
                worker.take_routed(unpack(packed))
            case PublishLost(count):
                self._lose_published(count)
            case RouteLost(counts):
                worker.assembly.routes.lose(counts)
            case Descriptors():
                worker.take_descriptors(descriptors)
            case Exclude(connections):
                worker.exclude(connections)
            case Tap() if self._registry is not None and (taps := worker.taps()) is not None:
                taps.begin(message, self._registry)
            case Untap(number) if (taps := worker.taps()) is not None:
                taps.end(number)
            case Stop():
                worker.stop()


async def _main(descriptor: int) -> int:
    hear(dict.fromkeys(ENDING, lambda: None))  # the parent hears them and decides
    ended = await Child(Channel(socket.socket(fileno=descriptor), TO_WORKER)).run()
    ignore()
    return ended


def main() -> None:
    """Be the process: ``sys.argv`` names the channel's descriptor and the parent."""
    # First of all: a worker whose parent was killed would keep its share of the fanout group's traffic.
    die_with_parent(int(sys.argv[2]))
    sys.exit(asyncio.run(_main(int(sys.argv[1]))))
