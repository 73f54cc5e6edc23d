"""Options of the parsers ``sip`` and ``icmp``, and of the processor ``mask``."""

from __future__ import annotations

from typing import Literal

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


@otus_core.configuration
class MaskConfig:
    """What is masked, and with which key."""

    key_file: str = otus_core.option(
        secret_file=True,
        example="/etc/otus/mask.key",
        help="File with the key, of 16 characters or more; with the same key a name gets the same pseudonym everywhere",
    )
    keep_digits: int = otus_core.option(
        default=3, ge=0, le=4, help="Digits at the end of telephone numbers that are left as they are"
    )
    bodies: Literal["mask", "keep"] = otus_core.option(
        default="mask",
        help="mask: of bodies that are no session description only the length is left; keep: users in URIs are masked",
    )
