"""Messages as aligned lines of text.

In: ``OutputPacket``s. Out: a ``Row`` for each, which holds nothing but printable text, and UTF-8 lines made of rows.
Columns grow with what has been seen, each up to a bound. SIP is known by its labels; what its payload adds (``reason``,
``sdp``) is taken if it is there, and of other payloads ``to_text``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from otus_console.sdp import media_summary
from otus_core import FlowKey, OutputPacket, printable

ADDRESS_WIDTH = 47
"""``[IPv6]:port`` at its longest."""
WHAT_WIDTH = 28
CALL_WIDTH = 32
PARTIES_WIDTH = 52
BOUNDS = (ADDRESS_WIDTH, ADDRESS_WIDTH, WHAT_WIDTH, CALL_WIDTH, PARTIES_WIDTH)
"""How wide the columns may grow; a text that is longer stands out."""
METHOD_MAX = 16
REASON_MAX = 22
PARTY_MAX = 32
KEY_MAX = 32
VALUE_MAX = 48
LABELS_MAX = 8
FAULT_MAX = 64
SAID_MAX = 512
SCANNED_MAX = 256
"""Characters of a label that are looked at and remembered; a URI can be 64 KiB long."""
REMEMBERED_MAX = 4096
"""Flows, and pairs of parties, whose texts are remembered."""

DIM, RESET = "\x1b[2m", "\x1b[0m"
REQUEST = "\x1b[36m"
INVITE = "\x1b[1;36m"
STATUS = {"1": "\x1b[33m", "2": "\x1b[32m", "3": "\x1b[35m", "4": "\x1b[31m", "5": "\x1b[31m", "6": "\x1b[31m"}
SCHEMES = ("sip", "sips", "tel")


class Row(NamedTuple):
    """One message. ``style`` colours ``what``; a row without ``call`` and ``parties`` has all it tells in ``rest``."""

    time: str
    source: str
    destination: str
    what: str
    style: str
    call: str
    parties: str
    rest: str


class TextLines:
    """Makes rows and lines, and remembers how wide the columns have become."""

    def __init__(self, *, colour: bool, utc: bool) -> None:
        self._colour = colour
        self._broken_down = time.gmtime if utc else time.localtime
        self._zone = "Z" if utc else ""
        self._second = -1
        self._clock = ""
        self._widths: tuple[int, ...] = (0, 0, 0, 0, 0)
        self._ends: dict[FlowKey | None, tuple[str, str]] = {}
        self._sip, self._other = self._templates()

    def row(self, output: OutputPacket) -> Row:
        """Make one message's row."""
        labels = output.labels
        method = labels.get("sip.method")
        if method is not None:
            method = printable(method, METHOD_MAX)
            return self._sip_row(output, method, INVITE if method == "INVITE" else REQUEST)
        code = labels.get("sip.status_code")
        if code is not None:
            reason = getattr(output.payload, "reason", None) or ""
            what = _status(code[:METHOD_MAX], reason[:SCANNED_MAX], labels.get("sip.cseq_method", "")[:METHOD_MAX])
            return self._sip_row(output, what, STATUS.get(code[:1], ""))
        what = printable(output.payload_type, WHAT_WIDTH)
        return Row(*self._head(output), what, "", "", "", _said(output) or _generic(output))

    def lines(self, rows: Sequence[Row]) -> list[bytes]:
        """Make the lines of a batch, aligned with each other and with those before."""
        if rows:
            self._widen(rows)
        return [self._line(row).encode("utf-8", "backslashreplace") for row in rows]

    def _sip_row(self, output: OutputPacket, what: str, style: str) -> Row:
        labels = output.labels
        parties = _parties(labels.get("sip.from_uri", "")[:SCANNED_MAX], labels.get("sip.to_uri", "")[:SCANNED_MAX])
        sdp = getattr(output.payload, "sdp", None)
        told = (_faults(labels), "" if sdp is None else media_summary(sdp), _marks(output))
        rest = "  ".join(filter(None, told))
        return Row(*self._head(output), what, style, _call(labels.get("sip.call_id", "")[:SCANNED_MAX]), parties, rest)

    def _head(self, output: OutputPacket) -> tuple[str, str, str]:
        """Tell when, from where and to where."""
        second, ns = divmod(output.timestamp, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._clock = time.strftime("%Y-%m-%d %H:%M:%S", self._broken_down(second))
        flow = output.flow
        ends = self._ends.get(flow)
        if ends is None:
            if len(self._ends) >= REMEMBERED_MAX:
                self._ends.clear()
            parties = (output.src_ip, output.src_port), (output.dst_ip, output.dst_port)
            ends = _address(*parties[0]), _address(*parties[1])
            self._ends[flow] = ends
        return f"{self._clock}.{ns // 1_000_000:03d}{self._zone}", *ends

    def _widen(self, rows: Sequence[Row]) -> None:
        """Let the columns grow with these rows."""
        _, sources, destinations, whats, _, calls, parties, _ = zip(*rows, strict=True)
        columns = zip((sources, destinations, whats, calls, parties), self._widths, BOUNDS, strict=True)
        widths = tuple(min(max(width, *map(len, texts)), bound) for texts, width, bound in columns)
        if widths != self._widths:
            self._widths = widths
            self._sip, self._other = self._templates()

    def _templates(self) -> tuple[str, str]:
        """Make the two kinds of line; the second is for what is not SIP."""
        source, destination, what, call, parties = self._widths
        dim, reset = (DIM, RESET) if self._colour else ("", "")
        ends = f"{dim}%s{reset}  %-{source}s → %-{destination}s  %s%-{what}s{reset}  "
        return f"{ends}{dim}%-{call}s{reset}  %-{parties}s  %s", f"{ends}%s"

    def _line(self, row: Row) -> str:
        style = row.style if self._colour else ""
        begin = (row.time, row.source, row.destination, style, row.what)
        if row.call:
            return (self._sip % (*begin, row.call, row.parties, row.rest)).rstrip()
        return (self._other % (*begin, row.rest)).rstrip()


def _address(ip: Any, port: int) -> str:
    if ip is None:  # of a record that belongs to no packet
        return "-"
    text = f"[{ip}]" if ip.version == 6 else str(ip)
    return f"{text}:{port}" if port else text


@lru_cache(maxsize=REMEMBERED_MAX)
def _status(code: str, reason: str, method: str) -> str:
    """Say ``200 OK (INVITE)``."""
    text = f"{printable(code, 3)} {printable(reason, REASON_MAX - len(method))}".rstrip()
    return f"{text} ({printable(method)})" if method else text


@lru_cache(maxsize=REMEMBERED_MAX)
def _call(call_id: str) -> str:
    """Shorten a Call-ID: its host goes first, then its end; what is left can be searched for."""
    if len(call_id) > CALL_WIDTH:
        local = call_id.partition("@")[0]
        call_id = f"{local}@…" if len(local) < CALL_WIDTH - 1 else call_id
    return printable(call_id, CALL_WIDTH) or "-"


@lru_cache(maxsize=REMEMBERED_MAX)
def _parties(sender: str, receiver: str) -> str:
    return f"{_party(sender)} → {_party(receiver)}"


def _party(uri: str) -> str:
    """Shorten a URI to ``user@host``: without scheme, password, parameters and headers."""
    scheme, colon, rest = uri.partition(":")
    if colon and scheme.lower() in SCHEMES:
        uri = rest
    user, at, host = uri.rpartition("@")  # RFC 3261 §25.1: a user part may hold ; and ? itself
    host = host.partition(";")[0].partition("?")[0]
    return printable(user.partition(":")[0] + at + host, PARTY_MAX) or "-"


def _faults(labels: Mapping[str, str]) -> str:
    """Tell what is wrong with a message."""
    faults = []
    if "sip.malformed" in labels:
        faults.append(f"malformed: {printable(labels['sip.malformed'], FAULT_MAX)}")
    if "sip.trailing_bytes" in labels:
        faults.append(f"{printable(labels['sip.trailing_bytes'], METHOD_MAX)} bytes behind it")
    return "  ".join(faults)


def _marks(output: OutputPacket) -> str:
    """Tell VLAN tags and tunnel, where there are any."""
    vlans, tunnel = output.vlans, output.tunnel
    if not vlans and tunnel is None:
        return ""
    marks = []
    if vlans:
        marks.append("vlan " + ".".join(map(str, vlans)))
    if tunnel is not None:
        marks.append(tunnel if output.vni is None else f"{tunnel} {output.vni}")
    return "  ".join(marks)


def _said(output: OutputPacket) -> str:
    """Tell what the payload says of itself in a line, if it offers ``to_text``."""
    to_text = getattr(output.payload, "to_text", None)
    if to_text is None:
        return ""
    return "  ".join(filter(None, (printable(str(to_text()), SAID_MAX), _marks(output))))


def _generic(output: OutputPacket) -> str:
    """Tell what there is to tell of any message: its labels and its length; of a record, its key and what it says."""
    told = [_pairs(output.labels)]
    if output.is_record:
        key = "" if output.key is None else printable(output.key, CALL_WIDTH)
        told = [key, *told, _pairs(output.payload) if isinstance(output.payload, Mapping) else ""]
    else:
        told.append(f"{len(output.raw_payload)} bytes")
    return "  ".join(filter(None, (*told, _marks(output))))


def _pairs(values: Mapping[Any, Any]) -> str:
    """Give the first few pairs of a mapping."""
    items = list(islice(values.items(), LABELS_MAX))
    told = [f"{printable(str(key), KEY_MAX)}={printable(str(value), VALUE_MAX)}" for key, value in items]
    if len(values) > LABELS_MAX:
        told.append(f"… {len(values) - LABELS_MAX} more")
    return " ".join(told)
