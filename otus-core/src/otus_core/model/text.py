"""Text from packets, made safe to show."""

from __future__ import annotations


def printable(text: str | bytes, limit: int = 0) -> str:
    r"""Escape what is not printable, so that it can reach a terminal or a log line.

    Control characters, C1, line and paragraph separators, bidirectional marks and other format characters, lone surrogates and invalid UTF-8
    become ``\xNN`` or ``\uNNNN``, and a backslash is doubled. With ``limit`` the text is cut to that many characters, ending in ``…``.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace") if text.isascii() else text.decode("utf-8", "surrogateescape")
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as surrogateescape keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
