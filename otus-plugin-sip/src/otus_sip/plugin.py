"""Declares the parser ``sip``."""

from __future__ import annotations

from collections.abc import Iterator

import otus_core
from otus_sip.names import LABELS


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration]:
    """Declare the parser."""
    yield otus_core.Parser(
        name="sip",
        factory="otus_sip.parser:SipParser",
        config="otus_sip.config:SipConfig",
        payload_types=("sip",),
        transports=("udp", "tcp"),
        ports=(5060, 5061),
        priority=50,
        wants_flows=True,
        call_label="sip.call_id",
        labels=LABELS,
        counters=("malformed",),
        summary="SIP (RFC 3261) with SDP, and the media flows of calls",
        stability="beta",
    )
