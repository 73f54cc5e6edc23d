"""Options of the parsers ``sip`` and ``icmp``."""

from __future__ import annotations

import otus_core


@otus_core.configuration
class SipConfig:
    """Where SIP is expected, and how much is remembered of calls."""

    ports: tuple[int, ...] = otus_core.option(
        default=(5060, 5061),
        ge=1,
        le=65535,
        max_length=64,
        help="Ports on which unknown methods and malformed start lines count as SIP too",
    )
    show_credentials: bool = otus_core.option(
        default=False,
        help="Leave the proofs of passwords in Authorization, Proxy-Authorization and Authentication-Info as they are; "
        "else each of their characters becomes x, in the message and in raw_payload",
    )
    max_sessions: int = otus_core.option(
        default=65536,
        ge=1,
        le=10_000_000,
        help="Calls whose offers are remembered, with 2 KiB of memory for each on average; the oldest goes first",
    )
    session_ttl: otus_core.Duration = otus_core.option(
        default=86400.0, gt=0, le=7 * 86400, help="How long a call and its media flows are remembered, by packet time"
    )


@otus_core.configuration
class IcmpConfig:
    """Where SIP is expected."""

    ports: tuple[int, ...] = otus_core.option(
        default=(5060, 5061),
        ge=1,
        le=65535,
        max_length=64,
        help="Ports by which an error counts that quotes no more than the UDP or TCP header, as old routers do",
    )
    show_credentials: bool = otus_core.option(
        default=False, help="Leave the proofs of passwords in quoted messages as they are, in raw_payload"
    )
