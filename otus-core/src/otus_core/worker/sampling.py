"""Looks at a running pipeline, twice a second: for the counters, which outlive the worker, and for whoever runs it."""

from __future__ import annotations

import time

import attrs

from otus_core.components import CaptureStats
from otus_core.log import Logger
from otus_core.model.counter_names import name_of, of_reporter
from otus_core.pipeline.counters import CIRCUIT_STATES, KERNEL_COUNTERS, unaccounted
from otus_core.process.connections import Gathered
from otus_core.worker.assembly import Part
from otus_core.worker.course import Course
from otus_core.worker.figures import SliceFigures
from otus_core.worker.starting import Running
from otus_core.worker.status import Status, Told, status_of

log = Logger("otus.worker")


def tell_circuit(component: str, old: str, new: str) -> None:
    """Log that a circuit has opened or closed; that it is tried again now and then is for developers."""
    if old == "closed" and new != "closed":
        log.warning("circuit_opened", component=component)
    elif old != "closed" and new == "closed":
        log.info("circuit_closed", component=component)
    elif old != new:
        log.debug("circuit", component=component, old=old, new=new)


class Sampler:
    """What was seen at the last look is kept, so that changes alone are told."""

    def __init__(self, running: Running, course: Course) -> None:
        self._assembly = running.assembly
        self._source = running.assembly.source
        self._pipeline = running.pipeline
        self._deliveries = running.deliveries
        self._course = course
        self._live = running.assembly.config.capture.declaration.live
        self.figures = SliceFigures(running.assembly.accounts.snapshot())
        self._booked = CaptureStats()
        self._evicted = 0
        self._trouble = ""
        self._statuses: dict[str, Status] = {}
        self._circuits: dict[str, str] = {}
        self._components: Told = {}
        self._connections = Gathered()

    def sample(self) -> None:
        """Book what the source, the circuits and the buffers show, and tell the parent what has changed."""
        course = self._course
        self.book(self._source.stats())
        # Asked for once: an interface may be gone for hours, and this is asked twice a second.
        if not course.reopening and self._source.wants_descriptors():
            course.reopening = True
            course.parent.ask_descriptors()
        if self._live:
            self._tell_trouble(self._source.trouble())
        if self._connections.look():  # a live task beside this one leaves them out
            course.parent.tell_connections(self._connections.all())
        self._tell_reporters()

    def book(self, stats: CaptureStats) -> None:
        """Add what the source counted since the last look: the counters outlive this worker, its source does not."""
        # A live source counts from its opening on, and the counters of its predecessors are in the accounts already.
        # What a file tells is what the loop has counted itself.
        accounts, last = self._assembly.accounts, self._booked if self._live else stats
        self._booked = stats
        for name, now, before in zip(KERNEL_COUNTERS, attrs.astuple(stats), attrs.astuple(last), strict=True):
            accounts.add(name, now - before)
        flows = self._assembly.flows
        accounts.set("flows", len(flows))
        accounts.set("endpoints", flows.endpoint_count)
        accounts.add("flows_evicted", flows.evicted - self._evicted)
        self._evicted = flows.evicted
        accounts.set("progress_ppm", int(1e6 * (self._source.progress() or 0.0)))
        self._book_states()
        # Told from here, where no packet is halfway: whoever reads the counters from outside may see one between two of
        # them.
        counters = accounts.snapshot()
        accounts.set("unaccounted", unaccounted(counters, self._assembly.roster))
        self.figures.tell(time.monotonic(), counters)

    def _book_states(self) -> None:
        """Show each component's circuit, and what each buffer holds."""
        accounts = self._assembly.accounts
        states = {f"{breaker.kind}:{breaker.name}": breaker.state for breaker in self._pipeline.breakers}
        states |= {f"reporter:{delivery.name}": delivery.state for delivery in self._deliveries}
        states[f"capturer:{self._source.name}"] = self._source.state
        for name, state in states.items():
            # As a number: shared memory holds 64-bit integers alone.
            accounts.set(name_of("state", name), CIRCUIT_STATES.index(state))
            tell_circuit(name, self._circuits.get(name, "closed"), state)
        self._circuits = states
        self._tell_components()
        for delivery in self._deliveries:
            accounts.set(of_reporter(delivery.name, "bytes_queued"), delivery.buffer.bytes_held)
            accounts.set(of_reporter(delivery.name, "oldest_ns"), delivery.oldest_ns)
            accounts.set(of_reporter(delivery.name, "spool_bytes"), delivery.spool_bytes)

    def _tell_components(self) -> None:
        """Log and tell the parent what components say of themselves, where that has changed."""
        before, now = self._components, self._assembly.statuses.now()
        if now == before:
            return
        for component, (status, why) in now.items():
            if status != before.get(component, ("ok", ""))[0]:
                tell = log.info if status == "ok" else log.warning
                tell("component_status", component=component, status=status, reason=why)
        self._components = now
        self._course.parent.tell_components(now)

    def _tell_trouble(self, trouble: str) -> None:
        """Tell the parent why nothing comes in, where that has changed."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._course.parent.tell_trouble(trouble)

    def _tell_reporters(self) -> None:
        """Tell the parent how the destinations are, where that has changed."""
        statuses = {part.spec.id: self._status_of(part) for part in self._assembly.reporters}
        if statuses != self._statuses:
            self._statuses = statuses
            self._course.parent.tell_reporters(statuses)

    def _status_of(self, part: Part) -> Status:
        try:
            return status_of(part.component)
        except BaseException as error:
            self._course.place.on_error("reporter", part.spec.id, error)
            return {}
