"""What this plugin offers. Light: the factory is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator

import otus_core

MAX_IN_FLIGHT = 16
"""Calls of ``report`` that are open at a time: enough to fill batches of several partitions while others are on their
way.
"""
FAILURES = ("ambiguous", "auth", "encode", "refused", "stopped", "too_large", "topic", "unavailable")


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration | otus_core.SharedConfig]:
    """Declare the reporter, the command channel, and what they share."""
    yield otus_core.SharedConfig(
        name="kafka",
        config="otus_kafka.settings:SharedKafkaConfig",
        heirs=("command_channel:kafka", "reporter:kafka"),
        bound={"brokers": ("sasl", "tls")},
        summary="Kafka, for all that use it.",
    )
    yield otus_core.Reporter(
        name="kafka",
        factory="otus_kafka.reporter:KafkaReporter",
        config="otus_kafka.settings:KafkaReporterConfig",
        summary="Messages to Kafka topics, in batches",
        stability="beta",
        max_in_flight=MAX_IN_FLIGHT,
        own_retries=True,
        failure_reasons=FAILURES,
        local_options=("brokers", "sasl", "tls"),
        batch_size=500,
        batch_timeout=0.05,
    )
    yield otus_core.CommandChannel(
        name="kafka",
        factory="otus_kafka.channel:KafkaChannel",
        config="otus_kafka.settings:KafkaChannelConfig",
        summary="Commands from a Kafka topic, answers to another",
        stability="beta",
        schemas={
            "answer": otus_core.PayloadSchema("otus_kafka.documents:Answer"),
            "heartbeat": otus_core.PayloadSchema("otus_kafka.documents:Heartbeat"),
            "event": otus_core.PayloadSchema("otus_kafka.documents:Event"),
        },
    )


@otus_core.hookimpl
def otus_cli_commands() -> dict[str, otus_core.CommandGroup]:
    """Add ``otus fleet``."""
    return {"fleet": otus_core.CommandGroup(app="otus_kafka.fleet:app", summary="Command many nodes over Kafka")}
