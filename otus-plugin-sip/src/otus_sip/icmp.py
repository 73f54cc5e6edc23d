"""The parser ``icmp``: ICMP and ICMPv6 errors that quote SIP, or a packet of a SIP port.

In: the ICMP message behind an IP header. Out: an ``IcmpError``, with the addresses, ports and start line of the packet
that could not be delivered. A router quotes at least the IP header and eight bytes (RFC 792), as a rule 548 bytes or
more (RFC 1812 §4.3.2.3), over IPv6 up to 1,280 in all (RFC 4443 §2.4): mostly the start line is among them. Other ICMP,
echo above all, is nobody's.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import attrs

from otus_core import BaseParser, DecodedPacket, Parsed, ParseError
from otus_sip.config import IcmpConfig
from otus_sip.quoted import read_quoted

ICMP, ICMPV6 = 1, 58
UDP, TCP = 17, 6
HEADER = 8
"""Bytes before the quotation."""
# What is told of a quotation is bounded: routers quote what hosts choose.
LINE_MAX = 256
CALL_ID_MAX = 256
EXTENSIONS_MAX = 8
"""IPv6 extension headers of a quoted packet that are stepped over."""
# IANA protocol numbers: hop-by-hop, routing, fragment, destination options (RFC 8200 §4).
FRAGMENT = 44
EXTENSIONS = (0, 43, FRAGMENT, 60)

# RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1
UNREACHABLE = (
    "network unreachable",
    "host unreachable",
    "protocol unreachable",
    "port unreachable",
    "fragmentation needed",
    "source route failed",
    "network unknown",
    "host unknown",
    "source host isolated",
    "network prohibited",
    "host prohibited",
    "network unreachable for this type of service",
    "host unreachable for this type of service",
    "administratively prohibited",
    "host precedence violation",
    "precedence cutoff",
)
# RFC 4443 §3.1, RFC 7084 for the last
UNREACHABLE_V6 = (
    "no route",
    "administratively prohibited",
    "beyond scope of source address",
    "address unreachable",
    "port unreachable",
    "source address failed policy",
    "route rejected",
    "error in source routing header",
)
EXCEEDED = ("time to live exceeded", "fragment reassembly time exceeded")
ERRORS = {3: "unreachable", 4: "source quench", 5: "redirect", 11: "time exceeded", 12: "parameter problem"}
ERRORS_V6 = {1: "unreachable", 2: "packet too big", 3: "time exceeded", 4: "parameter problem"}


@attrs.frozen(kw_only=True, eq=False)
class Quoted:
    """The packet that an error is about.

    ``method`` or ``status_code`` where the quotation has a start line; ``call_id`` where it reaches that far.
    """

    protocol: str
    src_ip: str
    dst_ip: str
    src_port: int
    dst_port: int
    start_line: str | None = None
    method: str | None = None
    status_code: int | None = None
    call_id: str | None = None


@attrs.frozen(kw_only=True, eq=False)
class IcmpError:
    """One error. ``error`` says it in words; ``mtu`` is what a packet that was too big may have had, in bytes."""

    type: int
    code: int
    error: str
    mtu: int | None = None
    quoted: Quoted

    def labels(self) -> dict[str, str]:
        """Give the labels that apply."""
        quoted = self.quoted
        made = {
            "icmp.type": str(self.type),
            "icmp.code": str(self.code),
            "icmp.error": self.error,
            "icmp.quoted_src": _end(quoted.src_ip, quoted.src_port),
            "icmp.quoted_dst": _end(quoted.dst_ip, quoted.dst_port),
        }
        if quoted.method is not None:
            made["icmp.quoted_method"] = quoted.method
        if quoted.status_code is not None:
            made["icmp.quoted_status_code"] = str(quoted.status_code)
        if quoted.call_id is not None:
            made["icmp.call_id"] = quoted.call_id
        return made

    def label(self, name: str) -> str | None:
        """Give one label."""
        return self.labels().get(name)

    def to_text(self) -> str:
        """Say it in one line."""
        quoted = self.quoted
        way = f"{quoted.protocol} {_end(quoted.src_ip, quoted.src_port)} → {_end(quoted.dst_ip, quoted.dst_port)}"
        line = f"{quoted.start_line} ({way})" if quoted.start_line else way
        return f"{self.error} for {line}"


class IcmpParser(BaseParser):
    """Takes errors that quote SIP."""

    def __init__(self, config: IcmpConfig) -> None:
        self._ports = frozenset(config.ports)
        self._hides = not config.show_credentials
        self._seen: tuple[DecodedPacket, Parsed] | None = None

    def can_handle(self, packet: DecodedPacket) -> bool:
        """Read the whole error: nothing less tells whether it is about SIP. ``handle`` comes right after."""
        found = self._read(packet)
        self._seen = None if found is None else (packet, found)
        return found is not None

    def handle(self, packet: DecodedPacket) -> Parsed:
        """Give the error."""
        seen, self._seen = self._seen, None
        found = seen[1] if seen is not None and seen[0] is packet else self._read(packet)
        if found is None:
            raise ParseError("not an ICMP error about SIP")
        return found

    def _read(self, packet: DecodedPacket) -> Parsed | None:
        message = packet.payload
        read = read_error(packet.protocol, message, self._hides)
        if read is None:
            return None
        error, raw = read
        quoted = error.quoted
        if quoted.start_line is None and quoted.src_port not in self._ports and quoted.dst_port not in self._ports:
            return None
        return Parsed(error, error, raw)


def read_error(protocol: int, message: bytes, hides: bool = True) -> tuple[IcmpError, bytes] | None:
    """Read an ICMP (1) or ICMPv6 (58) message; ``None`` unless it is an error that quotes a packet over UDP or TCP.

    Also gives the message's bytes as far as they were understood, with ``hides`` without proofs of passwords.
    """
    names = ERRORS if protocol == ICMP else ERRORS_V6 if protocol == ICMPV6 else {}
    if len(message) < HEADER or message[0] not in names:
        return None
    kind, code = message[0], message[1]
    # RFC 4884 §4: where extensions follow, the length of the quotation in words, of four bytes, in ICMPv6 of eight.
    length = 0
    if protocol == ICMP and kind in (3, 11, 12):
        length = message[5] * 4
    elif protocol == ICMPV6 and kind in (1, 3):
        length = message[4] * 8
    segment = _segment(message[: HEADER + length] if length else message)
    if segment is None:
        return None
    quoted, raw = _read_quoted(segment, hides)
    error = _name_error(protocol, kind, code)
    return IcmpError(type=kind, code=code, error=error, mtu=_mtu(protocol, kind, code, message), quoted=quoted), raw


@attrs.frozen(eq=False)
class _Segment:
    """Where the quoted UDP or TCP header begins in ``message``, which ends with the quotation."""

    message: bytes
    at: int
    protocol: int
    src: str
    dst: str


def _segment(message: bytes) -> _Segment | None:
    """Find the header with the ports; ``None`` where there is none."""
    if len(message) <= HEADER:
        return None
    found = _ipv4(message) if message[HEADER] >> 4 == 4 else _ipv6(message)
    if found is None or found.protocol not in (UDP, TCP) or len(found.message) < found.at + 8:
        return None
    return found


def _ipv4(message: bytes) -> _Segment | None:
    packet = message[HEADER : HEADER + 20]
    if len(packet) < 20 or packet[6] & 0x1F or packet[7]:  # a later fragment has no ports
        return None
    size, total = (packet[0] & 0x0F) * 4, int.from_bytes(packet[2:4])
    if size < 20:
        return None
    end = HEADER + total if total > size else len(message)  # some systems quote the length without the header
    src, dst = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    return _Segment(message[:end], HEADER + size, packet[9], str(src), str(dst))


def _ipv6(message: bytes) -> _Segment | None:
    packet = message[HEADER : HEADER + 40]
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return None
    message = message[: HEADER + 40 + int.from_bytes(packet[4:6])]
    protocol, at = packet[6], HEADER + 40
    for _ in range(EXTENSIONS_MAX):
        if protocol not in EXTENSIONS or len(message) < at + 8:
            break
        if protocol == FRAGMENT and int.from_bytes(message[at + 2 : at + 4]) & 0xFFF8:
            return None
        protocol, at = message[at], at + (8 if protocol == FRAGMENT else (message[at + 1] + 1) * 8)
    return _Segment(message, at, protocol, str(IPv6Address(packet[8:24])), str(IPv6Address(packet[24:40])))


def _read_quoted(segment: _Segment, hides: bool) -> tuple[Quoted, bytes]:
    """Read ports and, as far as whole lines of it are there, the SIP message; also gives all that was read as bytes."""
    message, at = segment.message, segment.at
    size = 8
    if segment.protocol == TCP and len(message) >= at + 20:
        size = (message[at + 12] >> 4) * 4
    start = min(at + size, len(message))
    lines = message[: max(start, message.rfind(b"\n") + 1)]
    sip = read_quoted(lines, start, hides) if start > at + 7 else None
    quoted = Quoted(
        protocol="UDP" if segment.protocol == UDP else "TCP",
        src_ip=segment.src,
        dst_ip=segment.dst,
        src_port=int.from_bytes(message[at : at + 2]),
        dst_port=int.from_bytes(message[at + 2 : at + 4]),
        start_line=None if sip is None else _text(sip.raw.partition(b"\n")[0].strip(), LINE_MAX),
        method=sip.method if sip is not None else None,
        status_code=sip.status_code if sip is not None else None,
        call_id=sip.call_id[:CALL_ID_MAX] if sip is not None and sip.call_id else None,
    )
    return quoted, message[:start] if sip is None else lines[: len(lines) - len(sip.raw)] + sip.raw


def _name_error(protocol: int, kind: int, code: int) -> str:
    """Say in words what went wrong."""
    if protocol == ICMP:
        names, exact = ERRORS, {3: UNREACHABLE, 11: EXCEEDED}.get(kind, ())
    else:
        names, exact = ERRORS_V6, {1: UNREACHABLE_V6, 3: EXCEEDED}.get(kind, ())
    return exact[code] if code < len(exact) else names[kind]


def _mtu(protocol: int, kind: int, code: int, message: bytes) -> int | None:
    """Give the MTU of the next hop (RFC 1191 §4, RFC 4443 §3.2); old routers leave it 0."""
    if protocol == ICMP:
        return int.from_bytes(message[6:8]) or None if (kind, code) == (3, 4) else None
    return int.from_bytes(message[4:8]) if kind == 2 else None


def _end(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _text(raw: bytes, most: int) -> str:
    return raw[:most].decode("utf-8", "replace")
