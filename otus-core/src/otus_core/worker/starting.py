"""Starts one worker's assembled components, and joins them to the compiled loop and to what sends their messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from otus_core.decode.decoder import Decoder
from otus_core.decode.hep import PORT as HEP_PORT
from otus_core.decode.hep import HepFrames
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.call import DeliveryLimits
from otus_core.pipeline.delivery import Delivery
from otus_core.pipeline.loop import Pipeline
from otus_core.pipeline.slots import ParserSlot, ProcessorSlot
from otus_core.stream.framer import Framer
from otus_core.stream.streams import Streams
from otus_core.task.spec import ReporterSpec
from otus_core.values import frozen
from otus_core.worker.assembly import (
    Assembly,
    Node,
    Part,
    Place,
    fallbacks_of,
    marks_of,
    stop_part,
)
from otus_core.worker.trying import SKIPPED, attempt, start_failure

if TYPE_CHECKING:
    from otus_core.pipeline.spooler import Spooler


@frozen(eq=False)
class Running:
    """An assembly whose components have been started, with what they are joined by."""

    assembly: Assembly
    pipeline: Pipeline
    deliveries: Sequence[Delivery]


async def start(assembly: Assembly, node: Node, place: Place, on_closed: Callable[[str], None]) -> Running:
    """Start the components, from reporters back to parsers, and build the pipeline. Raises TaskStartFailed.

    ``on_closed`` is called with the name of a reporter whose output nobody reads any more.
    """
    # Against the way of the packets: when something can give a message, whatever takes it is ready.
    for parts in (assembly.reporters, assembly.processors, assembly.parsers):
        for part in list(parts):
            if await attempt(part.spec, "start", part.component.start, place.on_waiting) is SKIPPED:
                # It may have started halfway: what it had opened by then is given back.
                await stop_part(part, assembly)
                parts.remove(part)
    started = {part.spec.id for part in assembly.reporters}
    kept = {name: reasons for name, reasons in assembly.roster.reporters.items() if name in started}
    # That of a reporter that was left out takes its place
    fallbacks = fallbacks_of(part.spec for part in assembly.reporters)
    assembly.roster = attrs.evolve(assembly.roster, reporters=kept, fallbacks=fallbacks)
    deliveries = _deliveries(assembly, place, on_closed)
    pipeline = _pipeline(assembly, node, place, deliveries)
    for delivery in deliveries:
        delivery.begin()
    return Running(assembly, pipeline, deliveries)


def _deliveries(assembly: Assembly, place: Place, on_closed: Callable[[str], None]) -> list[Delivery]:
    """Make each reporter's buffer and delivery, and join fallbacks."""
    live = assembly.config.capture.declaration.live
    deliveries = {}
    specs = {spec.id: spec for spec in assembly.config.reporters}
    marks = marks_of(assembly.config)
    for part in assembly.reporters:
        spec = specs[part.spec.id]
        spooled = spec.spool is not None
        buffer = SendBuffer(assembly.accounts, spec.id, spec.capacity, spec.max_bytes, not live, spooled)
        deliveries[spec.id] = Delivery(
            spec.id,
            part.component,
            buffer,
            assembly.accounts,
            _limits(spec),
            on_error=place.on_error,
            on_closed=on_closed,
            mark=marks[part.name],
            waited=place.waited,
            spooler=_spooler(spec, assembly, place),
        )
    for name, delivery in deliveries.items():
        if fallback := specs[name].fallback:
            # In a second pass, because a fallback may stand before or behind the one that hands over to it.
            delivery.fallback = deliveries.get(fallback)
    return list(deliveries.values())


def _spooler(spec: ReporterSpec, assembly: Assembly, place: Place) -> Spooler | None:
    """Open a reporter's spool, if it has one. Raises TaskStartFailed."""
    if spec.spool is None:
        return None
    # Few tasks have one, and what it takes is a thirtieth of a start
    from otus_core.pipeline.spool import SpoolError, SpoolLimits
    from otus_core.pipeline.spooler import Spooler

    limits = SpoolLimits(spec.spool.max_bytes, spec.spool.max_age)
    where = (Path(spec.spool.path), place.shard, place.shards)
    spooler = Spooler(spec.id, *where, limits, assembly.accounts, place.on_error)
    try:
        spooler.open()
    except SpoolError as error:
        raise start_failure(spec, "use its spool", error) from error
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


def _pipeline(assembly: Assembly, node: Node, place: Place, deliveries: Sequence[Delivery]) -> Pipeline:
    """Join the started components to the compiled loop."""
    config, accounts = assembly.config, assembly.accounts
    marks = marks_of(config)
    parsers = [
        ParserSlot(
            accounts,
            part.spec.id,
            part.component,
            part.spec.declaration.payload_types,
            part.spec.declaration.transports,
            marks[part.name],
            part.outbox,
            part.spec.declaration.failure_reasons,
            _framer(part, marks[part.name]),
        )
        for part in assembly.parsers
    ]
    framers = [slot.framer for slot in parsers if slot.framer is not None]
    if "hep" in config.decoder.tunnels:  # before those of parsers, as the loop expects
        framers.insert(0, Framer("hep", HepFrames(), (), (HEP_PORT,), 0))
    processors = [
        ProcessorSlot(
            accounts,
            part.spec.id,
            part.component,
            getattr(part.spec, "on_error", "drop") == "pass",
            marks[part.name],
            accepts=part.spec.declaration.accepts,
            rewrites=part.spec.declaration.rewrites,
            outbox=part.outbox,
        )
        for part in assembly.processors
    ]
    # A fallback gets what its reporter could not send, and nothing from the loop.
    direct = [d.buffer for d in deliveries if d.name not in assembly.roster.fallbacks]
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
        on_refused=place.on_refused,
        forward_unmatched=config.unmatched_policy == "forward",
        live=config.capture.declaration.live,
        streams=Streams(accounts, config.streams, framers) if framers else None,
    )


def _framer(part: Part, mark: int) -> Framer | None:
    """Give what asks a parser where messages end, if it has streams. Raises TaskStartFailed."""
    declaration = part.spec.declaration
    if not declaration.streams:
        return None
    try:
        return Framer(part.spec.id, part.component, declaration.streams, declaration.ports, mark)
    except AttributeError as error:
        raise start_failure(part.spec, "say where messages end", error) from error
