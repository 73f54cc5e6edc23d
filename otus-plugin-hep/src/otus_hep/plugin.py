"""What this plugin offers. Light: the factories are imported when they are used."""

from __future__ import annotations

from collections.abc import Iterator

import otus_core

MAX_IN_FLIGHT = 32
"""Calls of ``report`` that are open at a time: over TCP each waits a moment after its bytes were acknowledged."""
CONNECTIONS = (
    "connections", "connections_refused", "connections_displaced", "connections_broken", "connections_slow",
)  # fmt: skip
"""Counters of the capturer's connections; those of packets are ``REASONS`` of ``collecting``."""
PACKETS = (
    *("packets", "strange", "cut", "bad_chunk", "no_addresses", "no_payload"),
    *("refused_source", "refused_key", "over_rate", "too_large", "not_inflated"),
)
FAILURES = ("encode", "left_out", "too_large", "unavailable")


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration | otus_core.SharedConfig]:
    """Declare the reporter, what all of its tasks share, and the capturer."""
    yield otus_core.SharedConfig(
        name="hep",
        config="otus_hep.config:SharedHepConfig",
        heirs=("reporter:hep",),
        bound={"servers": ("key_file", "tls", "transport")},
        summary="Homer, for all that send to it.",
    )
    yield otus_core.Reporter(
        name="hep",
        factory="otus_hep.reporter:HepReporter",
        config="otus_hep.config:HepReporterConfig",
        summary="Messages to Homer, in HEP version 3 over UDP, TCP or TLS",
        stability="beta",
        max_in_flight=MAX_IN_FLIGHT,
        own_retries=True,
        failure_reasons=FAILURES,
        local_options=("servers", "transport", "tls", "node_name", "capture_id"),
        batch_size=500,
        batch_timeout=0.05,
    )
    yield otus_core.Capturer(
        name="hep",
        factory="otus_hep.capturer:HepCapturer",
        config="otus_hep.config:HepCapturerConfig",
        live=True,
        summary="What agents send in HEP, versions 1 to 3, over UDP, TCP and TLS",
        stability="beta",
        local_options=("udp", "tcp", "tls", "security", "allow"),
        counters=(*PACKETS, *CONNECTIONS),
    )
