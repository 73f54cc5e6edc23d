"""Reads DNS messages (RFC 1035 §4): header, first question, and the records of the answer section.

Every length, count and jump is bounded.
"""

from __future__ import annotations

import struct
from typing import Any

import otus_core

PORT = 53
HEADER = struct.Struct("!6H")
QUESTION = struct.Struct("!HH")
RECORD = struct.Struct("!HHIH")
JUMPS_MAX = 32
NAME_MAX = 255
LABEL_MAX = 63
ANSWERS_MAX = 64
TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR"}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


class DnsParser(otus_core.BaseParser):
    """One message a packet."""

    def __init__(self, config: object) -> None:
        pass

    def can_handle(self, packet: otus_core.DecodedPacket) -> bool:
        """Port 53 on either side, and room for a header."""
        return PORT in (packet.src_port, packet.dst_port) and len(packet.payload) >= HEADER.size

    def handle(self, packet: otus_core.DecodedPacket) -> otus_core.Parsed:
        """Parse one packet. Raises ParseError."""
        data = packet.payload
        identifier, flags, questions, answers, _, _ = HEADER.unpack_from(data)
        if not questions:
            raise otus_core.ParseError("no question")
        name, at = _name(data, HEADER.size)
        if at + QUESTION.size > len(data):
            raise otus_core.ParseError("the question is cut off")
        qtype, _ = QUESTION.unpack_from(data, at)
        labels = {
            "dns.id": str(identifier),
            "dns.type": "response" if flags & 0x8000 else "query",
            "dns.name": name or ".",
            "dns.qtype": TYPES.get(qtype, str(qtype)),
        }
        payload: dict[str, Any] = {"id": identifier, "name": name, "qtype": qtype, "answers": []}
        if flags & 0x8000:
            labels["dns.rcode"] = RCODES.get(flags & 15, str(flags & 15))
            payload["answers"] = _answers(data, at + QUESTION.size, min(answers, ANSWERS_MAX)) if questions == 1 else []
            labels["dns.answers"] = str(answers)
        return otus_core.Parsed(payload, labels)


def _answers(data: bytes, at: int, count: int) -> list[dict[str, Any]]:
    """Read records as far as they are whole."""
    found: list[dict[str, Any]] = []
    for _ in range(count):
        try:
            name, at = _name(data, at)
        except otus_core.ParseError:
            break
        if at + RECORD.size > len(data):
            break
        kind, _, ttl, size = RECORD.unpack_from(data, at)
        at += RECORD.size + size
        if at > len(data):
            break
        found.append({"name": name, "type": TYPES.get(kind, str(kind)), "ttl": ttl})
    return found


def _name(data: bytes, at: int) -> tuple[str, int]:
    """Give the name at an offset, and what comes after it; compression (RFC 1035 §4.1.4) jumps backwards only, and not
    for ever.
    """
    parts: list[str] = []
    after, jumps, length = 0, 0, 0
    while True:
        if at >= len(data):
            raise otus_core.ParseError("a name is cut off")
        size = data[at]
        if size == 0:
            return ".".join(parts), after or at + 1
        if size >= 0xC0:
            if at + 2 > len(data) or jumps == JUMPS_MAX:
                raise otus_core.ParseError("a name goes in circles")
            after = after or at + 2
            target = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
            if target >= at:
                raise otus_core.ParseError("a name points forward")
            at, jumps = target, jumps + 1
            continue
        length += size + 1
        if size > LABEL_MAX or length > NAME_MAX or at + 1 + size > len(data):
            raise otus_core.ParseError("a label is too long")
        parts.append(otus_core.printable(data[at + 1 : at + 1 + size].decode("latin-1"), LABEL_MAX * 6))
        at += 1 + size
