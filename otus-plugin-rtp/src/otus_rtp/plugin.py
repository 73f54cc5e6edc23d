"""Declares the parser ``rtp``."""

from __future__ import annotations

from collections.abc import Iterator

import otus_core
from otus_rtp.names import LABELS


@otus_core.hookimpl
def otus_cli_commands() -> dict[str, otus_core.CommandGroup]:
    """Add ``otus media``."""
    return {"media": otus_core.CommandGroup(app="otus_rtp.media:media", summary="Show the RTP streams of calls")}


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration]:
    """Declare the parser."""
    yield otus_core.Parser(
        name="rtp",
        factory="otus_rtp.parser:RtpParser",
        config="otus_rtp.config:RtpConfig",
        payload_types=("stream", "rtcp", "rtp"),
        transports=("udp",),
        priority=80,
        wants_flows=True,
        call_label="rtp.call_id",
        labels=LABELS,
        on_request=True,
        schemas={
            "stream": otus_core.PayloadSchema("otus_rtp.records:StreamPayload"),
            "rtcp": otus_core.PayloadSchema("otus_rtp.records:RtcpPayload"),
            "rtp": otus_core.PayloadSchema("otus_rtp.records:RtpPayload"),
        },
        summary="RTP streams of calls (RFC 3550) with their quality, and RTCP",
        stability="experimental",
    )
