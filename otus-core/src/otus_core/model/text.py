"""Text from packets and plugins, made safe to show."""

from __future__ import annotations

from unicodedata import east_asian_width

UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def printable(text: str | bytes, limit: int = 0) -> str:
    r"""Escape what is not printable, so that it can reach a terminal or a log line.

    Control characters, C1, line and paragraph separators, bidirectional marks and other format characters, lone
    surrogates and invalid UTF-8 become ``\xNN`` or ``\uNNNN``, and a backslash is doubled. With ``limit`` the text is
    cut to that many characters, ending in ``…``.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace") if text.isascii() else text.decode("utf-8", "surrogateescape")
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escape, text))


def columns_of(text: str) -> int:
    """Give how many columns of a terminal printable text takes: those of East Asian scripts and most pictures two
    (UAX #11), all other characters one, those that combine with the one before them too, for terminals differ there.
    """
    return len(text) if text.isascii() else len(text) + sum(east_asian_width(character) in "WF" for character in text)


def fit(text: str, columns: int) -> str:
    """Cut printable text to this many columns, ending in ``…``."""
    if columns_of(text) <= columns:
        return text
    kept, left = [], columns - 1
    for character in text:
        left -= columns_of(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + "…" if columns > 0 else ""


def say_duration(seconds: float) -> str:
    """Write a time that has passed, in its two largest units: ``3 d 4 h``, ``12 s``."""
    rest = int(seconds)
    parts = []
    for size, unit in UNITS:
        n, rest = divmod(rest, size)
        parts += [f"{n} {unit}"] if n else []
    return " ".join(parts[:2]) or "0 s"


def tell(error: BaseException, limit: int = 1000) -> str:
    """Give an error's type and text, printable and on one line. Never raises."""
    return printable(words_of(error), limit)


def words_of(error: BaseException) -> str:
    """Give an error's type and text on one line.

    Never raises: the error may be a plugin's own, and its ``__str__`` anything.
    """
    try:
        text = str.encode(str(error), "utf-8", "backslashreplace").decode()  # __str__ may give its own kind of text
    except BaseException:  # noqa: BLE001 - the fault boundary of plugins' exceptions
        text = "its text cannot be had"
    name = type.__dict__["__name__"].__get__(type(error))  # not what a metaclass says
    return " ".join(f"{name}: {text}".rstrip(": ").split())


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
