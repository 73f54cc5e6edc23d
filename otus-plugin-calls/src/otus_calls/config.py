"""Options of the processor ``calls``."""

from __future__ import annotations

import otus_core


@otus_core.configuration
class CallsConfig:
    """Which calls are followed, how long, and what is told of them."""

    consume: bool = otus_core.option(
        default=False,
        help="Take the messages and streams of calls and registrations in, so that only the records go on",
    )
    interim: otus_core.Duration = otus_core.option(
        default=0.0, ge=0, le=86400, help="Report calls that are under way each so often; 0 reports them at their end"
    )
    linger: otus_core.Duration = otus_core.option(
        default=35.0,
        ge=0,
        le=3600,
        help="How long after its last message a call that has ended is kept, before it is reported: for late messages "
        "(up to 64 * T1, 32 s) and for its streams, which end 30 s after it",
    )
    ring_timeout: otus_core.Duration = otus_core.option(
        default=300.0, ge=1, le=86400, help="A call that rings without another message ends after this time"
    )
    talk_timeout: otus_core.Duration = otus_core.option(
        default=43200.0, ge=1, le=604800, help="A call that was answered ends after this time without a message"
    )
    max_calls: int = otus_core.option(
        default=65536,
        ge=1,
        le=1_000_000,
        help="Calls that are followed at a time, five messages of which take about 1.5 KiB; the one that has been "
        "silent longest is reported and forgotten for another",
    )
    max_messages: int = otus_core.option(
        default=256, ge=16, le=4096, help="Messages of a call that are kept; those in the middle give way"
    )
    messages: bool = otus_core.option(
        default=True,
        help="Records tell of each message of their call; without, they are half as large, and made in two thirds of "
        "the time",
    )
    max_registrations: int = otus_core.option(
        default=65536, ge=1, le=1_000_000, help="Registrations that are followed at a time"
    )
    leg_headers: tuple[str, ...] = otus_core.option(
        default=("X-Call-ID",), max_length=8, help="Header fields by which a B2BUA names the Call-ID of the other leg"
    )
    kpi: otus_core.Duration = otus_core.option(
        default=0.0, ge=0, le=86400, help="Report figures of all calls and registrations each so often; 0 never does"
    )
    slow_setup: otus_core.Duration = otus_core.option(
        default=10.0, ge=0.1, le=600, help="A call that takes longer to ring or be answered has the flag slow_setup"
    )
    short_call: otus_core.Duration = otus_core.option(
        default=3.0, ge=0, le=600, help="An answered call that is shorter has the flag short_call"
    )
    scan_users: int = otus_core.option(
        default=10, ge=2, le=1000, help="Users that one source fails to register before its registrations count as scan"
    )
