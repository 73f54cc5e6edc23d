"""Declares the processor ``calls``, and adds the commands."""

from __future__ import annotations

from collections.abc import Iterator

import otus_core
from otus_calls.commands import GROUPS
from otus_calls.names import CALL_LABELS, COUNTERS, KPI_LABELS, REGISTRATION_LABELS, VERSION


@otus_core.hookimpl
def otus_cli_commands() -> dict[str, otus_core.CommandGroup]:
    """Add the commands."""
    return dict(GROUPS)


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration]:
    """Declare the processor."""
    yield otus_core.Processor(
        name="calls",
        factory="otus_calls.processor:Calls",
        config="otus_calls.config:CallsConfig",
        accepts=("sip", "stream", "rtcp", "icmp"),
        produces=("call", "registration", "kpi"),
        routes=True,
        call_label="call.call_id",
        labels=(*CALL_LABELS, *REGISTRATION_LABELS, *KPI_LABELS),
        counters=COUNTERS,
        schemas={
            "call": otus_core.PayloadSchema("otus_calls.records:CallPayload", VERSION),
            "registration": otus_core.PayloadSchema("otus_calls.records:RegistrationPayload", VERSION),
            "kpi": otus_core.PayloadSchema("otus_calls.records:KpiPayload", VERSION),
        },
        summary="Calls and registrations with their outcome, times, quality and what went wrong; figures of all calls",
        stability="experimental",
    )
