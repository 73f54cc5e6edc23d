"""What one task's workers say, and what is done about it."""

from __future__ import annotations

from collections.abc import Callable

from otus_core.errors import CaptureError
from otus_core.log import Logger
from otus_core.logs.events import relay
from otus_core.process.connections import as_connection
from otus_core.process.messages import (
    Arrived,
    Chore,
    Components,
    Connections,
    Ended,
    Failed,
    Fault,
    FromWorker,
    Log,
    Publish,
    Reporters,
    Route,
    Started,
    Tapped,
    Trouble,
    WantDescriptors,
)
from otus_core.supervise.exchange import Exchange
from otus_core.supervise.slot import WorkerSlot
from otus_core.supervise.surroundings import Surroundings
from otus_core.task.spec import TaskConfig

log = Logger("otus.supervisor")

FAULTS_MAX = 1000
"""Of one task. They end in the summary, which nobody reads to its thousandth line."""


class Hearing:
    """``faults`` are what the workers' sources have reported.

    ``on_change`` is called when a worker runs, and when the source has a trouble or has it no longer.
    """

    def __init__(
        self, config: TaskConfig, around: Surroundings, exchange: Exchange, on_change: Callable[[], None]
    ) -> None:
        self.faults: list[CaptureError] = []
        self._task = config.id
        self._live = config.capture.declaration.live
        self._around = around
        self._exchange = exchange
        self._on_change = on_change

    def hear(self, slot: WorkerSlot, message: FromWorker) -> None:
        """Act on what a worker says.

        Raises TypeError, ValueError, LookupError or AttributeError for what cannot be understood.
        """
        match message:
            case Publish() | Route() | Arrived():
                self._exchange.carry(slot, message)
            case Log(level, event):
                relay(log, level, event, task=self._task)
            case Started(reporters, left_out):
                slot.start(reporters, left_out)
                self._exchange.taps.join(slot)
                self._on_change()
            case Tapped():
                self._exchange.taps.hear(message)
            case Fault():
                self._note_fault(slot, message)
            # Not answered here: the opener is asked in the supervisor's own turn, where it can be waited for.
            case WantDescriptors():
                slot.renewing = True
            case Reporters(statuses):
                slot.take_statuses(statuses)
            case Components(said):
                slot.take_components(said)
            case Chore(name, failures):
                slot.count_chore(name, failures)
            case Trouble(reason):
                self._note_trouble(slot, reason)
            case Connections(connections):
                self._around.connections.tell((self, slot.shard), map(as_connection, connections))
            case Failed(reason):
                slot.said_error = reason
            case Ended():
                slot.said_end = True

    def forget_connections(self, slot: WorkerSlot) -> None:
        """The worker has ended, and its connections with it."""
        self._around.connections.tell((self, slot.shard), ())

    def _note_fault(self, slot: WorkerSlot, fault: Fault) -> None:
        # A source may be damaged in as many places as it has bytes; what is beyond is in the log.
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(CaptureError(fault.source, fault.reason, fault.offset, fatal=fault.fatal))
        if self._live:
            about = {"task": self._task, "worker": slot.shard}
            log.error("capture_fault", **about, source=fault.source, reason=fault.reason)

    def _note_trouble(self, slot: WorkerSlot, trouble: str) -> None:
        slot.trouble = trouble
        if slot.state == "starting":
            pass  # the worker has logged it
        elif trouble:
            log.warning("capture_trouble", task=self._task, worker=slot.shard, reason=trouble)
        else:
            log.info("capture_resumed", task=self._task, worker=slot.shard)
        self._on_change()
