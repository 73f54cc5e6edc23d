"""Declares the parsers ``sip`` and ``icmp``, and the processor ``mask``."""

from __future__ import annotations

from collections.abc import Iterator

import otus_core
from otus_sip.names import HIDDEN, ICMP_LABELS, LABELS, SEEN


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration]:
    """Declare the parsers. ICMP errors are asked for the SIP that they quote."""
    yield otus_core.Parser(
        name="sip",
        factory="otus_sip.parser:SipParser",
        config="otus_sip.config:SipConfig",
        payload_types=("sip",),
        transports=("udp", "tcp"),
        streams=("tcp", "websocket:sip"),
        ports=(5060, 5061),
        priority=50,
        wants_flows=True,
        call_label="sip.call_id",
        labels=LABELS,
        counters=("malformed", *SEEN),
        failure_reasons=("malformed start line",),
        hidden=HIDDEN,
        schemas={"sip": otus_core.PayloadSchema("otus_sip.records:SipPayload")},
        summary="SIP (RFC 3261) with SDP, and the media flows of calls",
        stability="beta",
    )
    yield otus_core.Parser(
        name="icmp",
        factory="otus_sip.icmp:IcmpParser",
        config="otus_sip.config:IcmpConfig",
        payload_types=("icmp",),
        transports=("icmp",),
        priority=60,
        call_label="icmp.call_id",
        labels=ICMP_LABELS,
        failure_reasons=("not an ICMP error about SIP",),
        schemas={"icmp": otus_core.PayloadSchema("otus_sip.icmp:IcmpError")},
        summary="ICMP and ICMPv6 errors that quote SIP (RFC 792, RFC 4443, RFC 4884)",
        stability="beta",
    )
    yield otus_core.Processor(
        name="mask",
        factory="otus_sip.mask:Mask",
        config="otus_sip.config:MaskConfig",
        summary="Puts pseudonyms in the place of telephone numbers, users and display names",
        stability="experimental",
        rewrites=True,
        counters=("masked",),
    )
