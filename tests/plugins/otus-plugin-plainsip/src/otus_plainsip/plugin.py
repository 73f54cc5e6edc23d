"""Declares the parser ``plainsip``."""

from collections.abc import Iterator

import otus_core
from otus_plainsip.config import PlainSipConfig


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration]:
    """Declare the parser."""
    yield otus_core.Parser(
        name="plainsip",
        factory="otus_plainsip.parser:PlainSipParser",
        config=PlainSipConfig,
        payload_types=("sip",),
        transports=("udp", "tcp"),
        ports=(5060, 5061),
        call_label="sip.call_id",
        summary="SIP (RFC 3261) in plain Python",
    )
