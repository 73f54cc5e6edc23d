"""Configuration of streams, a task's ``streams`` key."""

from __future__ import annotations

from otus_core.config.fields import Duration, configuration, option


@configuration
class StreamsConfig:
    """Limits on the TCP streams of which parsers are given whole messages. Each worker has them for itself."""

    gap_timeout: Duration = option(
        default=2.0,
        gt=0,
        le=3600,
        help="how long a missing segment is waited for, by packet time; 0.1 s at most once the receiver has "
        "acknowledged it",
    )
    timeout: Duration = option(
        default=60.0, gt=0, le=86400, help="how long a stream without a segment is remembered, by packet time"
    )
    max_streams: int = option(
        default=65536, ge=16, le=10_000_000, help="streams at once; the two directions of a connection are two"
    )
    max_bytes: int = option(
        default=64 * 2**20,
        ge=2**20,
        le=2**34,
        help="bytes held at once; then the stream that is idle longest is given up",
    )
    max_message: int = option(default=2**20, ge=2**10, le=2**26, help="bytes of one message")
    max_out_of_order: int = option(
        default=2**16, ge=2**10, le=2**24, help="bytes of one stream that wait for a missing segment"
    )
