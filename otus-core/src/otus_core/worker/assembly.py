"""Builds one worker's pipeline from a task's configuration, in phases that are each finished before the next begins.

validate and resolve (a ``TaskConfig`` holds what that gave) → construct → wire → start, from reporters back to the
capturer. Stopping goes the other way, from the capturer forward; what was constructed is stopped exactly once.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from otus_core.chores import raise_cancellation
from otus_core.context import Context, LineWriter
from otus_core.declarations import schema_id
from otus_core.decode.decoder import COUNTERS as DECODER_COUNTERS
from otus_core.errors import ParseError, PluginInitFailed
from otus_core.log import Logger, settle
from otus_core.model.accounts import Accounts
from otus_core.model.flows import FlowRegistry
from otus_core.model.own_counters import counting
from otus_core.model.packet import DecodedPacket
from otus_core.model.text import tell
from otus_core.pipeline.counters import Roster, counter_names, summary
from otus_core.pipeline.slots import Outbox
from otus_core.pipeline.steps import run_timed
from otus_core.stream.streams import COUNTERS as STREAM_COUNTERS
from otus_core.task.spec import ComponentSpec, TaskConfig
from otus_core.values import define, frozen
from otus_core.worker.routes import Routes
from otus_core.worker.source import Source
from otus_core.worker.status import Statuses
from otus_core.worker.trying import SKIPPED, attempt

log = Logger("otus.task")

STOP_WITHIN_S = 12.0
"""Somewhat less than a supervisor gives a worker."""


@frozen(kw_only=True, eq=False)
class Node:
    """The machine that a worker runs on, as components see it."""

    hostname: str
    ip: str = ""
    tags: Mapping[str, str] = attrs.field(factory=dict)


@frozen(kw_only=True, eq=False)
class Place:
    """Where in its task a worker stands, and what it is given by its surroundings.

    ``secret`` decides which worker owns a key; ``meet`` waits at a named stage until all workers are
    there; it takes and gives whether one of them wants another stage of this kind.
    ``on_waiting`` is told why a component that could not be started is to be tried again. ``waited`` gives how long
    (ns) writing to ``stdout`` has kept the thread so far.
    """

    shard: int = 0
    shards: int = 1
    counters: memoryview | None = None
    descriptors: Sequence[int] = ()
    stdout: LineWriter | None = None
    waited: Callable[[], int] = lambda: 0
    publish: Callable[[tuple[str, Any]], None] | None = None
    secret: bytes = b""
    meet: Callable[[str, bool], Awaitable[bool]] | None = None
    on_error: Callable[[str, str, BaseException], None]
    on_refused: Callable[[str, ParseError, DecodedPacket], None] = lambda _parser, _error, _packet: None
    on_waiting: Callable[[str], None] = lambda _why: None


@define(eq=False)
class Part:
    """A component with the specification that it was made from."""

    spec: ComponentSpec
    component: Any
    outbox: Outbox
    stopped: bool = False

    @property
    def name(self) -> str:
        """Kind and id, as counters have it: ``processor:calls``."""
        return f"{self.spec.declaration.kind}:{self.spec.id}"


@define(eq=False)
class Assembly:
    """One worker's components, wired."""

    config: TaskConfig
    accounts: Accounts
    roster: Roster
    flows: FlowRegistry
    routes: Routes
    capturer: Part
    parsers: list[Part]
    processors: list[Part]
    reporters: list[Part]
    statuses: Statuses
    _source: Source | None = None

    def summary(self, counters: Mapping[str, int]) -> dict[str, Any]:
        """Give the identity's terms."""
        return summary(counters, self.roster)

    @property
    def source(self) -> Source:
        """The capturer, as it is called."""
        assert self._source is not None  # made by ``assemble``
        return self._source

    def guard_source(self, place: Place) -> None:
        """Put the guard before the capturer, once it has been constructed."""
        self._source = Source(
            self.capturer.spec.id,
            self.capturer.component,
            self.accounts,
            place.on_error,
            live=self.roster.live,
            mark=marks_of(self.config)[self.capturer.name],
        )


def marks_of(config: TaskConfig) -> dict[str, int]:
    """Give the number by which the counter ``running`` names each component: its place in the roster of all, whichever
    of them are left out.
    """
    return {name: mark for mark, name in enumerate(roster_of(config).components, 1)}


def roster_of(config: TaskConfig) -> Roster:
    """Give the names that the worker's counters are made of."""
    return Roster(
        parsers=tuple(spec.id for spec in config.parsers),
        processors=tuple(spec.id for spec in config.processors),
        reporters={spec.id: spec.declaration.failure_reasons for spec in config.reporters},
        capturer=config.capture.id,
        fallbacks=fallbacks_of(config.reporters),
        live=config.capture.declaration.live,
        counted={
            f"{spec.declaration.kind}:{spec.id}": spec.declaration.counters
            for spec in (*config.parsers, *config.processors, *config.reporters, config.capture)
            if spec.declaration.counters
        },
        refused={spec.id: spec.declaration.failure_reasons for spec in config.parsers},
        hidden={spec.id: spec.declaration.hidden for spec in config.parsers},
        routing=tuple(
            f"{spec.declaration.kind}:{spec.id}"
            for spec in (*config.parsers, *config.processors)
            if spec.declaration.routes
        ),
    )


def names_of(config: TaskConfig) -> tuple[str, ...]:
    """Give the names of all counters of one of this task's workers."""
    return counter_names(roster_of(config), (*DECODER_COUNTERS, *STREAM_COUNTERS))


def fallbacks_of(specs: Iterable[Any]) -> frozenset[str]:
    """Give the reporters, of these, that only take what another one of these could not send."""
    return frozenset(spec.fallback for spec in specs if spec.fallback)


def origins(config: TaskConfig) -> dict[str, tuple[str, str]]:
    """Give the distribution and version that each component comes from, by ``kind:id``."""
    specs = (*config.parsers, *config.processors, *config.reporters, config.capture)
    return {f"{s.declaration.kind}:{s.id}": (s.record.distribution, s.record.version) for s in specs}


async def assemble(config: TaskConfig, node: Node, place: Place) -> Assembly:
    """Construct and wire one worker's components. Raises TaskStartFailed, after stopping what was constructed."""
    roster = roster_of(config)
    accounts = Accounts(names_of(config), place.counters)
    assembly = Assembly(
        config=config,
        accounts=accounts,
        roster=roster,
        flows=FlowRegistry(config.max_flows),
        routes=Routes(place.shard, place.shards, place.secret, accounts),
        capturer=Part(config.capture, None, _outbox(config.capture)),
        parsers=[],
        processors=[],
        reporters=[],
        statuses=Statuses(accounts),
    )
    assembly.flows.watched = sum(spec.declaration.wants_flows for spec in config.parsers) > 1
    if place.publish is not None and assembly.flows.watched:
        publish = place.publish
        assembly.flows._on_change = lambda change: publish(("flows", change))
    try:
        await _construct_all(assembly, place)
        assembly.guard_source(place)
        for parts in (assembly.reporters, assembly.processors, assembly.parsers, [assembly.capturer]):
            for part in list(parts):
                if not await _wire(part, _context(part, assembly, node, place), place):
                    await stop_part(part, assembly)
                    parts.remove(part)
    except BaseException:
        await stop(assembly)
        raise
    return assembly


def name_left_out(assembly: Assembly) -> tuple[str, ...]:
    """Give kind and id of each component that could not be started and that the task goes on without."""
    config = assembly.config
    there = {id(part.spec) for part in (*assembly.parsers, *assembly.processors, *assembly.reporters)}
    specs = (*config.parsers, *config.processors, *config.reporters)
    return tuple(f"{spec.declaration.kind} {spec.id}" for spec in specs if id(spec) not in there)


async def _construct_all(assembly: Assembly, place: Place) -> None:
    """Construct every component, from reporters back to the capturer. Raises TaskStartFailed."""
    config = assembly.config
    for specs, parts in (
        (config.reporters, assembly.reporters),
        (config.processors, assembly.processors),
        (config.parsers, assembly.parsers),
    ):
        for spec in specs:
            part = await _construct(spec, place)
            if part is not None:
                parts.append(part)
    capturer = await _construct(config.capture, place)
    assert capturer is not None  # no task goes on without
    assembly.capturer = capturer


async def stop(assembly: Assembly) -> None:
    """Stop every component, from the parsers forward; the capturer has been closed before. Errors are logged."""
    for parts in (assembly.parsers, assembly.processors, assembly.reporters):
        for part in parts:
            await stop_part(part, assembly)


async def _construct(spec: ComponentSpec, place: Place) -> Part | None:
    """Make one component; ``None`` when its failure means that the task goes on without it. Raises TaskStartFailed."""

    def make() -> Part:
        factory = spec.declaration.load_factory()
        settle()
        return Part(spec, factory(spec.settings), _outbox(spec))

    part = await attempt(spec, "be constructed", make, place.on_waiting, skips=spec.declaration.kind != "capturer")
    return None if part is SKIPPED else part


def _outbox(spec: ComponentSpec) -> Outbox:
    """Make where a component's records wait; only parsers and processors declare any."""
    declared = spec.declaration
    types = {"parser": "payload_types", "processor": "produces"}.get(declared.kind)
    return Outbox(f"{declared.kind} {spec.id}", getattr(declared, types) if types else ())


async def _wire(part: Part, context: Context, place: Place) -> bool:
    """Wire one component; false when its failure means that the task goes on without it. Raises TaskStartFailed."""
    skips = part.spec.declaration.kind != "capturer"

    def wire() -> None:
        if getattr(part.spec.declaration, "routes", False) and not callable(getattr(part.component, "on_route", None)):
            raise PluginInitFailed("it declares routes, and has no on_route to take them")
        part.component.wire(context)

    return await attempt(part.spec, "be wired", wire, place.on_waiting, skips=skips) is not SKIPPED


async def stop_part(part: Part, assembly: Assembly) -> None:
    """Stop one component, once; one that does not come to an end is left to itself. Errors are logged."""
    if part.stopped:
        return
    part.stopped = True
    accounts, mark = assembly.accounts, marks_of(assembly.config)[part.name]

    def begin() -> None:
        accounts.set("running", mark)

    def end(_ns: int) -> None:
        accounts.set("running", 0)

    async def stop() -> None:
        waiting = part.component.stop()
        if inspect.isawaitable(waiting):
            await waiting

    try:
        await run_timed(stop(), STOP_WITHIN_S, begin, end)
    except BaseException as error:
        raise_cancellation(error)
        log.warning("component_stop_failed", kind=part.spec.declaration.kind, component=part.spec.id, error=tell(error))


def _context(part: Part, assembly: Assembly, node: Node, place: Place) -> Context:
    """Give a component what it is wired to."""
    declaration = part.spec.declaration
    name = part.spec.id
    publish = place.publish
    speaks: dict[str, Any] = {"emit": part.outbox.emit} if declaration.kind in ("parser", "processor") else {}
    if getattr(declaration, "routes", False):
        speaks["route"] = assembly.routes.opened(part.name, part.component)
    return Context(
        **speaks,
        task_id=assembly.config.id,
        agent_id=node.hostname,
        pipeline_id=place.shard,
        component_id=name,
        counter=counting(assembly.accounts, declaration.kind, name, declaration),
        capture_drops=lambda: assembly.accounts["kernel_drop"],
        status=assembly.statuses.teller(part.name),
        hostname=node.hostname,
        node_ip=node.ip,
        tags=node.tags,
        flows=assembly.flows if getattr(declaration, "wants_flows", False) else None,
        stdout=place.stdout if declaration.kind == "reporter" else None,
        peers=None if publish is None else (lambda message: publish((name, message))),
        alone=place.shards == 1,
        call_labels=_call_labels(assembly.config),
        schemas=schemas_of(assembly.config),
        has_fallback=getattr(part.spec, "fallback", None) is not None,
        has_spool=getattr(part.spec, "spool", None) is not None,
    )


def _call_labels(config: TaskConfig) -> dict[str, str]:
    makers = [(spec.declaration, spec.declaration.payload_types) for spec in config.parsers]
    makers += [(spec.declaration, spec.declaration.produces) for spec in config.processors]
    return {
        payload_type: declaration.call_label
        for declaration, payload_types in makers
        if declaration.call_label
        for payload_type in payload_types
    }


def schemas_of(config: TaskConfig) -> dict[str, str]:
    """Name the schemas of what a task's parsers and processors make."""
    return {
        payload_type: schema_id(payload_type, schema.version)
        for spec in (*config.parsers, *config.processors)
        for payload_type, schema in spec.declaration.schemas.items()
    }
