"""Builds one worker's pipeline from a task's configuration, in phases that are each finished before the next begins.

validate and resolve (a ``TaskConfig`` holds what that gave) → construct → wire → start, from reporters back to the
capturer. Stopping goes the other way, from the capturer forward; what was constructed is stopped exactly once.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from otus_core.components import BaseCapturer, Context, LineWriter
from otus_core.decode.decoder import COUNTERS as DECODER_COUNTERS
from otus_core.decode.decoder import Decoder
from otus_core.errors import TaskStartFailed
from otus_core.log import Logger, settle
from otus_core.model.accounts import Accounts
from otus_core.model.flows import FlowRegistry
from otus_core.model.text import told
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.call import DeliveryLimits
from otus_core.pipeline.counters import Roster, counter_names, counting, summary
from otus_core.pipeline.delivery import Delivery
from otus_core.pipeline.loop import ParserSlot, Pipeline, ProcessorSlot
from otus_core.pipeline.spool import SpoolError, SpoolLimits
from otus_core.pipeline.spooler import Spooler
from otus_core.task.config import ComponentSpec, ReporterSpec, TaskConfig

log = Logger("otus.task")

RETRY_FIRST_S = 0.5
RETRY_MOST_S = 30.0


@attrs.frozen(kw_only=True, eq=False)
class Node:
    """The machine that a worker runs on, as components see it."""

    hostname: str
    ip: str = ""
    tags: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True, eq=False)
class Place:
    """Where in its task a worker stands, and what it is given by its surroundings."""

    shard: int = 0
    shards: int = 1
    counters: memoryview | None = None
    descriptors: Sequence[int] = ()
    stdout: LineWriter | None = None
    publish: Callable[[tuple[str, Any]], None] | None = None
    on_error: Callable[[str, str, BaseException], None]
    on_closed: Callable[[str], None]


@attrs.define(eq=False)
class Part:
    """A component with the specification that it was made from."""

    spec: ComponentSpec
    component: Any
    stopped: bool = False


@attrs.define(eq=False)
class Assembly:
    """One worker's components, wired."""

    config: TaskConfig
    accounts: Accounts
    roster: Roster
    flows: FlowRegistry
    capturer: Part
    parsers: list[Part]
    processors: list[Part]
    reporters: list[Part]
    pipeline: Pipeline | None = None
    deliveries: list[Delivery] = attrs.field(factory=list)

    def summary(self, counters: Mapping[str, int]) -> dict[str, Any]:
        """Give the identity's terms."""
        return summary(counters, self.roster)

    @property
    def source(self) -> BaseCapturer:
        """The capturer itself."""
        component: BaseCapturer = self.capturer.component
        return component


def roster_of(config: TaskConfig) -> Roster:
    """Give the names that the worker's counters are made of."""
    return Roster(
        parsers=tuple(spec.id for spec in config.parsers),
        processors=tuple(spec.id for spec in config.processors),
        reporters={spec.id: spec.declaration.failure_reasons for spec in config.reporters},
        fallbacks=fallback_ids(config),
        live=config.capture.declaration.live,
        counted={spec.id: spec.declaration.counters for spec in config.parsers},
        hidden={spec.id: spec.declaration.hidden for spec in config.parsers},
    )


def names_of(config: TaskConfig) -> tuple[str, ...]:
    """Give the names of all counters of one of this task's workers."""
    return counter_names(roster_of(config), DECODER_COUNTERS)


def fallback_ids(config: TaskConfig) -> frozenset[str]:
    """Give the reporters that only take what another one could not send."""
    return _fallbacks(config.reporters)


def _fallbacks(specs: Iterable[Any]) -> frozenset[str]:
    return frozenset(spec.fallback for spec in specs if spec.fallback)


def origins(config: TaskConfig) -> dict[str, tuple[str, str]]:
    """Give the distribution and version that each component comes from, by ``kind:id``."""
    specs = (*config.parsers, *config.processors, *config.reporters)
    return {f"{s.declaration.kind}:{s.id}": (s.record.distribution, s.record.version) for s in specs}


async def assemble(config: TaskConfig, node: Node, place: Place) -> Assembly:
    """Construct and wire one worker's components. Raises TaskStartFailed, after stopping what was constructed."""
    roster = roster_of(config)
    assembly = Assembly(
        config=config,
        accounts=Accounts(names_of(config), place.counters),
        roster=roster,
        flows=FlowRegistry(),
        capturer=Part(config.capture, None),
        parsers=[],
        processors=[],
        reporters=[],
    )
    assembly.flows.watched = sum(spec.declaration.wants_flows for spec in config.parsers) > 1
    if place.publish is not None and assembly.flows.watched:
        publish = place.publish
        assembly.flows.on_change = lambda change: publish(("flows", change))
    try:
        _construct_all(assembly)
        for parts in (assembly.reporters, assembly.processors, assembly.parsers, [assembly.capturer]):
            for part in list(parts):
                if not _wire(part, _context(part, assembly, node, place)):
                    await _stop(part)
                    parts.remove(part)
    except TaskStartFailed:
        await stop(assembly)
        raise
    return assembly


def _construct_all(assembly: Assembly) -> None:
    """Construct every component, from reporters back to the capturer. Raises TaskStartFailed."""
    config = assembly.config
    for specs, parts in (
        (config.reporters, assembly.reporters),
        (config.processors, assembly.processors),
        (config.parsers, assembly.parsers),
    ):
        for spec in specs:
            part = _construct(spec)
            if part is not None:
                parts.append(part)
    capturer = _construct(config.capture)
    if capturer is None:
        raise TaskStartFailed(f"task {config.id}: a task cannot go on without its capturer")
    assembly.capturer = capturer


async def start(assembly: Assembly, node: Node, place: Place) -> None:
    """Start the components, from reporters back to parsers, and build the pipeline. Raises TaskStartFailed."""
    for parts in (assembly.reporters, assembly.processors, assembly.parsers):
        for part in list(parts):
            if not await _start(part):
                await _stop(part)
                parts.remove(part)
    started = {part.spec.id for part in assembly.reporters}
    kept = {name: reasons for name, reasons in assembly.roster.reporters.items() if name in started}
    # That of a reporter that was left out takes its place
    fallbacks = _fallbacks(part.spec for part in assembly.reporters)
    assembly.roster = attrs.evolve(assembly.roster, reporters=kept, fallbacks=fallbacks)
    assembly.deliveries = _deliveries(assembly, place)
    assembly.pipeline = _pipeline(assembly, node, place)
    for delivery in assembly.deliveries:
        delivery.begin()


async def stop(assembly: Assembly) -> None:
    """Stop every component, from the parsers forward; the capturer has been closed before. Errors are logged."""
    for parts in (assembly.parsers, assembly.processors, assembly.reporters):
        for part in parts:
            await _stop(part)


def _construct(spec: ComponentSpec) -> Part | None:
    """Make one component; ``None`` when its failure means that the task goes on without it."""
    try:
        factory = spec.declaration.load_factory()
        settle()
        return Part(spec, factory(spec.settings))
    except BaseException as error:
        if spec.on_failure == "skip":
            log.warning("component_skipped", kind=spec.declaration.kind, component=spec.id, error=told(error))
            return None
        raise _failed(spec, "be constructed", error) from error


def _wire(part: Part, context: Context) -> bool:
    """Wire one component; false when its failure means that the task goes on without it. Raises TaskStartFailed."""
    spec = part.spec
    try:
        part.component.wire(context)
    except BaseException as error:
        if spec.on_failure == "skip" and spec.declaration.kind != "capturer":
            log.warning("component_skipped", kind=spec.declaration.kind, component=spec.id, error=told(error))
            return False
        raise _failed(spec, "be wired", error) from error
    return True


async def _start(part: Part) -> bool:
    """Start one component as its ``on_failure`` says; false when the task goes on without it."""
    pause = RETRY_FIRST_S
    while True:
        try:
            waiting = part.component.start()
            if inspect.isawaitable(waiting):
                await waiting
            return True
        except BaseException as error:
            _unless_cancelled(error)
            spec = part.spec
            log.warning("component_start_failed", kind=spec.declaration.kind, component=spec.id, error=told(error))
            if spec.on_failure == "fail":
                raise _failed(spec, "start", error) from error
            if spec.on_failure == "skip":
                return False
        await asyncio.sleep(pause)
        pause = min(2 * pause, RETRY_MOST_S)


async def _stop(part: Part) -> None:
    if part.stopped:
        return
    part.stopped = True
    try:
        waiting = part.component.stop()
        if inspect.isawaitable(waiting):
            await waiting
    except BaseException as error:
        _unless_cancelled(error)
        log.warning("component_stop_failed", kind=part.spec.declaration.kind, component=part.spec.id, error=told(error))


def _unless_cancelled(error: BaseException) -> None:
    """Raise again what a component did not raise by itself: it is we who cancel."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


def _failed(spec: ComponentSpec, what: str, error: BaseException) -> TaskStartFailed:
    return TaskStartFailed(f"{spec.declaration.kind} {spec.id} could not {what}: {told(error)}")


def _context(part: Part, assembly: Assembly, node: Node, place: Place) -> Context:
    """Give a component what it is wired to."""
    declaration = part.spec.declaration
    name = part.spec.id
    publish = place.publish
    return Context(
        task_id=assembly.config.id,
        agent_id=node.hostname,
        pipeline_id=place.shard,
        component_id=name,
        count=counting(assembly.accounts, name, declaration),
        hostname=node.hostname,
        node_ip=node.ip,
        tags=node.tags,
        flows=assembly.flows if getattr(declaration, "wants_flows", False) else None,
        stdout=place.stdout if declaration.kind == "reporter" else None,
        peers=None if publish is None else (lambda message: publish((name, message))),
        call_labels=_call_labels(assembly.config),
        has_fallback=getattr(part.spec, "fallback", None) is not None,
        has_spool=getattr(part.spec, "spool", None) is not None,
    )


def _call_labels(config: TaskConfig) -> dict[str, str]:
    return {
        payload_type: spec.declaration.call_label
        for spec in config.parsers
        if spec.declaration.call_label
        for payload_type in spec.declaration.payload_types
    }


def _deliveries(assembly: Assembly, place: Place) -> list[Delivery]:
    """Make each reporter's buffer and delivery, and join fallbacks."""
    live = assembly.config.capture.declaration.live
    deliveries = {}
    for part in assembly.reporters:
        spec = part.spec
        assert isinstance(spec, ReporterSpec)
        spooled = spec.spool is not None
        buffer = SendBuffer(assembly.accounts, spec.id, spec.capacity, spec.max_bytes, not live, spooled)
        deliveries[spec.id] = Delivery(
            spec.id,
            part.component,
            buffer,
            assembly.accounts,
            _limits(spec),
            on_error=place.on_error,
            on_closed=place.on_closed,
            spooler=_spooler(spec, assembly, place),
        )
    for part in assembly.reporters:
        spec = part.spec
        assert isinstance(spec, ReporterSpec)
        if spec.fallback:
            deliveries[spec.id].fallback = deliveries.get(spec.fallback)
    return list(deliveries.values())


def _spooler(spec: ReporterSpec, assembly: Assembly, place: Place) -> Spooler | None:
    """Open a reporter's spool, if it has one. Raises TaskStartFailed."""
    if spec.spool is None:
        return None
    limits = SpoolLimits(spec.spool.max_bytes, spec.spool.max_age)
    where = (Path(spec.spool.path), place.shard, place.shards)
    spooler = Spooler(spec.id, *where, limits, assembly.accounts, place.on_error)
    try:
        spooler.open()
    except SpoolError as error:
        raise _failed(spec, "use its spool", error) from error
    return spooler


def _limits(spec: ReporterSpec) -> DeliveryLimits:
    declared = spec.declaration
    return DeliveryLimits(
        batch_size=declared.batch_size if spec.batch_size is None else spec.batch_size,
        batch_timeout=declared.batch_timeout if spec.batch_timeout is None else spec.batch_timeout,
        send_timeout=spec.send_timeout,
        max_retries=spec.max_retries,
        max_in_flight=declared.max_in_flight,
        own_retries=declared.own_retries,
    )


def _pipeline(assembly: Assembly, node: Node, place: Place) -> Pipeline:
    """Join the started components to the compiled loop."""
    config, accounts = assembly.config, assembly.accounts
    marks = {name: i for i, name in enumerate(roster_of(config).components, 1)}
    parsers = [
        ParserSlot(
            accounts,
            part.spec.id,
            part.component,
            part.spec.declaration.payload_types,
            part.spec.declaration.transports,
            marks[f"parser:{part.spec.id}"],
        )
        for part in assembly.parsers
    ]
    processors = [
        ProcessorSlot(
            accounts,
            part.spec.id,
            part.component,
            getattr(part.spec, "on_error", "drop") == "pass",
            marks[f"processor:{part.spec.id}"],
        )
        for part in assembly.processors
    ]
    direct = [d.buffer for d in assembly.deliveries if d.name not in assembly.roster.fallbacks]
    return Pipeline(
        accounts=accounts,
        decoder=Decoder(accounts, config.decoder),
        flows=assembly.flows,
        parsers=parsers,
        processors=processors,
        buffers=direct,
        task_id=config.id,
        agent_id=node.hostname,
        pipeline_id=place.shard,
        on_error=place.on_error,
        forward_unmatched=config.unmatched_policy == "forward",
        live=config.capture.declaration.live,
    )
