"""The parser ``plainsip``: packets in, SIP messages with labels out.

What is SIP is told by the start line; over TCP a whole message must follow. A datagram holds one message, a segment all
that lie whole in it.
"""

from __future__ import annotations

import re

import otus_core
from otus_plainsip.config import PlainSipConfig
from otus_plainsip.message import begins, read

TCP = 6
MESSAGES_MAX = 256
METHODS = frozenset(
    b"INVITE ACK BYE CANCEL OPTIONS REGISTER PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE".split()
)
_MALFORMED = re.compile(rb"[\r\n]*+(?=.{8})[^\n]*?SIP/[^\n]*+\n", re.DOTALL)
# An HTTP server may well answer SIP/2.0: off the configured ports one field that every SIP message has must follow.
_SIP_FIELD = re.compile(rb"^(?:v|via|f|from|t|to|i|call-id|cseq)[: ][^\n]*+\n", re.MULTILINE | re.IGNORECASE)


class PlainSipParser(otus_core.BaseParser):
    """SIP over UDP and TCP."""

    def __init__(self, config: PlainSipConfig) -> None:
        self._ports = frozenset(config.ports)

    def take(
        self, packet: otus_core.DecodedPacket
    ) -> otus_core.Parsed | list[otus_core.Parsed | otus_core.ParseError] | None:
        """Parse one packet; ``None`` is no SIP. Raises ParseError."""
        payload = packet.payload
        start = begins(payload)
        ports = self._ports
        on_port = packet.dst_port in ports or packet.src_port in ports
        if start is None:
            if on_port and _MALFORMED.match(payload) is not None:
                raise otus_core.ParseError("malformed start line")
            return None
        if not on_port and not _is_certain(start):
            return None
        if packet.protocol == TCP:
            return _segment(start) if read(start, True) is not None else None
        return read(start, False) or []


def _is_certain(start: re.Match[bytes]) -> bool:
    """Whether a message on any port is SIP."""
    return (start[4] is None or start[4] in METHODS) and _SIP_FIELD.search(start.string, start.end(1)) is not None


def _segment(start: re.Match[bytes] | None) -> list[otus_core.Parsed | otus_core.ParseError]:
    """Give every message that lies whole in a segment, and an error for what it has besides."""
    found: list[otus_core.Parsed | otus_core.ParseError] = []
    rest = b""
    while start is not None and len(found) < MESSAGES_MAX:
        message = read(start, True)
        if message is None:
            break
        found.append(message)
        at = start.start(1) + len(message.raw or b"")
        rest = start.string[at:].strip(b"\r\n")
        start = begins(start.string, at)
    if rest:
        found.append(otus_core.ParseError("bytes that are no whole message"))
    return found
