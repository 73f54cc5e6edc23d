"""Reads one SIP message (RFC 3261 §7): start line, header fields, body.

In: bytes, and where a message begins in them. Out: ``Parsed``, and ``None`` for what is no SIP or, in a stream, not
whole. Plain Python is quick when C does the work: a usual head is taken apart by one regular expression, which finds
what labels and framing need; any other is read line by line. Either way the cost is linear in the size of the message.
Text is UTF-8; what is not becomes U+FFFD.
"""

from __future__ import annotations

import json
import re
from typing import Any

import otus_core
from otus_plainsip.sdp import session

TOKEN = "[-.!%*_+`'~0-9A-Za-z]"  # RFC 3261 §25.1
DIGITS_MAX = 10  # of 2^32
VIAS_MAX = 70  # Max-Forwards starts at 70 (RFC 3261 §8.1.1.6): more are no route
_LINE = (
    rb"[\r\n]*+((?:"
    rb"SIP/2\.0 ([1-6][0-9]{2})(?: ([^\n]*+)|\r?)"
    rb"|(" + TOKEN.encode() + rb"{1,64}+) ([^ \t\n]++) SIP/2\.0\r?"
    rb")\n)"
)
START = re.compile(_LINE)
"""A start line, after the line ends that RFC 3261 §7.5 has ignored: all of it, status, reason, method, address."""

# `(?(6)(?!))` refuses a second one: which is the first, and so what counts, is told line by line.
_PARTY = rb""": (?:"[^"\\\n]*+"[ \t]*+|[^"<;>\n]*+)<([^>\n]++)>.*+\n"""
USUAL = re.compile(
    _LINE + rb"(?:"
    rb"Via: (?(6)(?!))(.++(?:\nVia: .++)*+)\n"
    rb"|From(?(7)(?!))" + _PARTY + rb"|To(?(8)(?!))" + _PARTY + rb"|C(?:"
    rb"all-ID: (?(9)(?!))(.++)"
    rb"|Seq: (?(10)(?!))[0-9]{1,10} (" + TOKEN.encode() + rb"++)\r?"
    rb"|ontent-Length: (?(11)(?!))([0-9]{1,9})\r?"
    rb"|(?:ontact|ontent-(?:Type|Disposition|Encoding|Language|ID)|all-Info): .*+"
    rb")\n"
    rb"|(?:[^VFTILCvftilc \t\r\n].*+\n)++"
    rb")*\r?\n"
)
"""A whole head as nearly all are: no folds, names as RFC 3261 spells them.

Adds every Via, the URIs of From and To, Call-ID, the method of CSeq, Content-Length.
"""

_CSEQ = re.compile(rf"[ \t\r\n]*+[0-9]*+[ \t\r\n]*+({TOKEN}++)")
_ADDRESS = re.compile(r'\s*+(?:"(?:[^"\\]|\\.)*+"\s*+<([^>]*+)>|(?!")[^<;>]*+<([^>]*+)>|(?!")([^<;>]++))', re.DOTALL)
_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "l": "content-length", "c": "content-type"}
Headers = list[tuple[str, str]]


class SipMessage:
    """One message: ``raw`` are its own bytes; what labels do not say is read when it is asked for."""

    __slots__ = ("_end", "_start", "body_start", "raw")

    def __init__(self, start: re.Match[bytes], end: int, raw: bytes, body_start: int):
        self._start = start
        self._end = end
        self.raw = raw
        self.body_start = body_start

    @property
    def headers(self) -> Headers:
        """All fields in order, names as they were written."""
        return fields(self._start.string[self._start.end(1) : self._end])

    @property
    def body(self) -> bytes:
        """What follows the header fields."""
        return self.raw[self.body_start :]

    @property
    def sdp(self) -> dict[str, Any] | None:
        """The session description (RFC 8866), where the body is one."""
        body = self.body
        kind = next((value for name, value in self.headers if full(name) == "content-type"), "")
        return session(body) if body and kind.lower().startswith("application/sdp") else None

    def to_json(self) -> bytes:
        """Give the message as one JSON object."""
        status, reason, method, uri = (part.decode("utf-8", "replace") for part in self._start.groups(b"")[1:5])
        if method:
            told: dict[str, Any] = {"method": method, "request_uri": uri}
        else:
            told = {"status_code": int(status), "reason": reason.removesuffix("\r")}
        told["headers"] = self.headers
        sdp = self.sdp
        if sdp is not None:
            told["sdp"] = sdp
        return json.dumps(told).encode()


def begins(data: bytes, at: int = 0) -> re.Match[bytes] | None:
    """Match a message's usual head, else its start line alone."""
    return USUAL.match(data, at) or START.match(data, at)


def read(start: re.Match[bytes], stream: bool) -> otus_core.Parsed | None:
    """Read the message whose beginning matched; ``None`` when a stream does not hold all of it."""
    if start.re is not USUAL:
        return _line_by_line(start, stream)
    _, status, _, method, _, via, from_uri, to_uri, call_id, cseq, length = start.groups()
    name, what = ("sip.method", method) if method else ("sip.status_code", status)
    try:
        labels = {
            name: what.decode(),
            "sip.cseq_method": cseq.decode(),
            "sip.call_id": call_id.decode().strip(" \t\r"),
            "sip.from_uri": from_uri.decode(),
            "sip.to_uri": to_uri.decode(),
            "sip.via": via.decode().strip(" \t\r"),
        }
    except (AttributeError, UnicodeDecodeError):  # one is missing, or is no UTF-8
        return _line_by_line(start, stream)
    if not (labels["sip.call_id"] and labels["sip.via"]):
        return _line_by_line(start, stream)
    if b"\n" in via:
        labels["sip.via"] = ", ".join([one.strip(" \t\r") for one in via.decode().split("\nVia: ")[:VIAS_MAX]])
    end = start.end()
    return _framed(start, end - 1, end, int(length) if length else -1, labels, stream)


def _line_by_line(start: re.Match[bytes], stream: bool) -> otus_core.Parsed | None:
    data, at = start.string, start.end(1)
    end, body = _blank_line(data, at)
    if stream and body < 0:
        return None
    headers = [(full(name), value) for name, value in fields(data[at:end])]
    first = dict(reversed(headers))
    method, status = start.group(4, 2)
    cseq = _CSEQ.fullmatch(first.get("cseq", ""))
    labels = {
        "sip.method": method.decode() if method else "",
        "sip.status_code": status.decode() if status else "",
        "sip.cseq_method": cseq[1] if cseq else "",
        "sip.call_id": first.get("call-id", ""),
        "sip.from_uri": _uri(first.get("from", "")),
        "sip.to_uri": _uri(first.get("to", "")),
        "sip.via": ", ".join([value for name, value in headers if name == "via"][:VIAS_MAX]),
    }
    lengths = (number(value) for name, value in headers if name == "content-length")
    length = next((length for length in lengths if length >= 0), -1)
    body = len(data) if body < 0 else body
    return _framed(start, end, body, length, {name: value for name, value in labels.items() if value}, stream)


def _framed(
    start: re.Match[bytes], end: int, body: int, length: int, labels: dict[str, str], stream: bool
) -> otus_core.Parsed | None:
    """Give the message with its own bytes.

    A datagram ends its message; what Content-Length leaves over is not part of it (RFC 3261 §18.3).
    """
    data, begin = start.string, start.start(1)
    size = len(data)
    stop = body if stream else size
    if length >= 0:
        if stream and length > size - body:
            return None
        stop = min(body + length, size)
    raw = data if begin == 0 and stop == size else data[begin:stop]
    return otus_core.Parsed(SipMessage(start, end, raw, body - begin), labels, raw)


def _blank_line(data: bytes, at: int) -> tuple[int, int]:
    """Give where the last field's line ends, and where the body begins; -1 without an empty line between them."""
    at -= 1  # the start line's own end
    end = data.find(b"\n\r\n", at)
    bare = data.find(b"\n\n", at, end + 1) if end >= 0 else data.find(b"\n\n", at)
    if bare >= 0:
        return bare + 1, bare + 2
    return (end + 1, end + 3) if end >= 0 else (len(data), -1)


def fields(head: bytes) -> Headers:
    """Give the header fields, line by line; folded ones are joined with one blank (RFC 3261 §7.3.1)."""
    found: list[tuple[str, list[str]]] = []
    for line in head.decode("utf-8", "replace").split("\n"):
        if line.startswith((" ", "\t")):
            if found:
                found[-1][1].append(line.strip(" \t\r"))
            continue
        name, colon, value = line.removesuffix("\r").partition(":")
        name = name.rstrip(" \t")
        if colon and name:
            found.append((name, [value.strip(" \t")]))
    return [(name, " ".join(parts).strip(" \t\r\n") if len(parts) > 1 else parts[0]) for name, parts in found]


def full(name: str) -> str:
    """Give a field's full name, in small letters (RFC 3261 §7.3.1, §7.3.3)."""
    small = name.lower()
    return _COMPACT.get(small, small)


def number(text: str) -> int:
    """Give a decimal number, or -1. ``int`` takes more than RFC 3261 does."""
    if not (text.isascii() and text.isdecimal()):
        return -1
    digits = text.lstrip("0")
    return int(digits or "0") if len(digits) <= DIGITS_MAX else -1


def _uri(value: str) -> str:
    """Give the URI of an address, in angle brackets or before the first parameter (RFC 3261 §20.10); empty where there
    is none.
    """
    found = _ADDRESS.match(value)
    return found[found.lastindex].rstrip() if found and found.lastindex else ""
