"""Bodies that are more than their bytes: multipart bodies (RFC 2046 §5.1, RFC 5621) and content codings (RFC 3261
§20.12).

In: what Content-Type, Content-Encoding and Content-Disposition say, and the bytes. Out: a flat list of ``Part``s and
the first fault as a constant text. Nothing is raised; depth, number of parts and what is inflated are bounded.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

import attrs

PARTS_MAX = 64
"""Parts that are looked at, nested ones included; calls have two or three."""
DEPTH_MAX = 4
"""Multipart bodies within each other: RFC 5621 §4.2 demands nesting, nobody needs more than two."""
CODINGS_MAX = 2
"""RFC 9110 §8.4 allows several codings; each costs inflating the whole once more."""
INFLATED_MAX = 1 << 16
"""Bytes that a body may inflate to: as many as a datagram could have held. All bodies of a message together, too."""
LINES_MAX = 64
"""Header lines of one part."""

UNKNOWN_CODING = "unknown Content-Encoding"
DAMAGED = "compressed body is damaged"
TOO_LARGE = "compressed body is too large"
TOO_DEEP = "multipart bodies are nested too deeply"

# Possessive: an unterminated quoted string is scanned once.
_PARAMETER = re.compile(r';\s*([^\s=;"]++)\s*+(?:=\s*+("(?:[^"\\]++|\\.)*+"|[^;\s]*+))?', re.DOTALL)
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_COMPACT = {"c": "content-type", "e": "content-encoding"}


@attrs.frozen(eq=False)
class Part:
    """One body: its Content-Type and Content-Disposition as they are written, and its bytes with the content codings
    undone.
    """

    kind: str
    disposition: str
    content: bytes

    @property
    def is_session(self) -> bool:
        """Whether it describes the session: an early session's description is another (RFC 3959 §4)."""
        return token(self.kind) == "application/sdp" and token(self.disposition) in ("", "session")


class Bodies:
    """The parts of one message's body, and what was wrong first."""

    def __init__(self, kind: str, encoding: str, disposition: str, content: bytes) -> None:
        self.parts: list[Part] = []
        self.fault: str | None = None
        self._inflatable = INFLATED_MAX
        self._pieces = PARTS_MAX
        self._take(kind, encoding, disposition, content, 0)

    def session(self) -> bytes | None:
        """Give the description of the session, ``None`` where there is none."""
        return next((part.content for part in self.parts if part.is_session), None)

    def _take(self, kind: str, encoding: str, disposition: str, content: bytes, depth: int) -> None:
        decoded = self._decode(encoding, content)
        if decoded is None:
            return
        if not token(kind).startswith("multipart/"):
            self.parts.append(Part(kind, disposition, decoded))
            return
        if depth == DEPTH_MAX:
            self._fail(TOO_DEEP)
            return
        boundary = parameter(kind, "boundary")
        for piece in _pieces(decoded, boundary):
            if self._pieces == 0:
                return
            self._pieces -= 1
            fields, inner = _split(piece)
            kind, encoding, placed = (fields.get(f"content-{what}", "") for what in ("type", "encoding", "disposition"))
            self._take(kind, encoding, placed, inner, depth + 1)

    def _decode(self, encoding: str, content: bytes) -> bytes | None:
        """Undo the content codings, the last first (RFC 9110 §8.4)."""
        codings = [coding for coding in (one.strip().lower() for one in encoding.split(",")) if coding]
        if len(codings) > CODINGS_MAX:
            self._fail(UNKNOWN_CODING)
            return None
        for coding in reversed(codings):
            if coding in ("gzip", "x-gzip", "deflate"):
                inflated = self._inflate(content, coding == "deflate")
                if inflated is None:
                    return None
                content = inflated
            elif coding != "identity":
                self._fail(UNKNOWN_CODING)
                return None
        return content

    def _inflate(self, content: bytes, deflate: bool) -> bytes | None:
        """Inflate a body. "deflate" is zlib's format; some send it bare, as browsers did."""
        for window in (zlib.MAX_WBITS, -zlib.MAX_WBITS) if deflate else (16 + zlib.MAX_WBITS,):
            stream = zlib.decompressobj(window)
            try:
                inflated = stream.decompress(content, self._inflatable + 1)
            except zlib.error:
                continue
            if len(inflated) > self._inflatable:
                self._fail(TOO_LARGE)
                return None
            self._inflatable -= len(inflated)
            if stream.eof:
                return inflated
        self._fail(DAMAGED)
        return None

    def _fail(self, fault: str) -> None:
        if self.fault is None:
            self.fault = fault


def token(value: str) -> str:
    """Give what stands before the first parameter, in lower case."""
    return value.partition(";")[0].strip().lower()


def parameter(value: str, name: str) -> str:
    """Give a parameter of a header field; empty where there is none.

    Names are compared without regard to case (RFC 3261 §7.3.1).
    """
    for found in _PARAMETER.finditer(value):
        if found[1].lower() == name:
            text = found[2] or ""
            return _PAIR.sub(r"\1", text[1:-1]) if text.startswith('"') and len(text) > 1 else text
    return ""


def _pieces(content: bytes, boundary: str) -> Iterator[bytes]:
    """Give what lies between delimiters: lines of ``--boundary``, perhaps with blanks behind it, up to
    ``--boundary--``.
    """
    if not boundary:
        return
    mark = b"--" + boundary.encode("utf-8", "replace")
    begun = -1
    at = content.find(mark)
    while at >= 0:
        end = at + len(mark)
        if at == 0 or content[at - 1] == 10:
            newline = content.find(b"\n", end)
            line_end = len(content) if newline < 0 else newline
            rest = content[end:line_end].rstrip(b" \t\r")
            if rest in (b"", b"--"):
                if begun >= 0:
                    yield content[begun:at].removesuffix(b"\n").removesuffix(b"\r")
                if rest:
                    return
                begun = line_end + 1
            end = max(end, line_end)
        at = content.find(mark, end)
    if 0 <= begun < len(content):  # the end is missing: cut, or forgotten
        yield content[begun:].removesuffix(b"\n").removesuffix(b"\r")


def _split(piece: bytes) -> tuple[dict[str, str], bytes]:
    """Take the header fields off a part: names in lower case, folded lines joined, the first of several."""
    fields: dict[str, str] = {}
    name, at = "", 0
    for _ in range(LINES_MAX):
        newline = piece.find(b"\n", at)
        line = piece[at : newline if newline >= 0 else len(piece)].rstrip(b"\r")
        at = newline + 1 if newline >= 0 else len(piece)
        if not line:
            break
        text = line.decode("utf-8", "replace")
        if text[0] in " \t" and name:
            fields[name] = f"{fields[name]} {text.strip()}".strip()
            continue
        key, _, value = text.partition(":")
        name = key.strip().lower()
        name = _COMPACT.get(name, name)
        name = "" if name in fields else name
        if name:
            fields[name] = value.strip()
    return fields, piece[at:]
