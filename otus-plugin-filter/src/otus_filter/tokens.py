"""Filter text into tokens: one pass, linear, every token with its offset.

In: text of at most ``BYTES_MAX`` bytes of UTF-8. Out: ``Token``s, the last of kind ``end``. Raises FilterSyntaxError.
"""

from __future__ import annotations

import re
from typing import Literal, NoReturn

import attrs

from otus_core import printable

BYTES_MAX = 2048
"""A filter is written by hand; this keeps reading one within milliseconds."""
SHOWN_MAX = 64
"""Characters of the text that an error shows around its position."""

KEYWORDS = frozenset(
    {"and", "or", "not", "in", "contains", "startswith", "endswith", "cidr", "icontains", "matches", "tail"}
)
HINTS = {"=": "equality is written ==", "&&": "write and", "||": "write or", "!": "write not", "<>": "write !="}

# No part of a name begins with an underscore: nothing that looks like Python's insides is a label by accident.
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?)(?![A-Za-z0-9_.])
      | (?P<name>[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9][A-Za-z0-9_-]*)*)
      | (?P<operator>==|!=|<=|>=|<(?!>)|>)
      | (?P<punctuation>[(),])
      | (?P<quote>['"])""",
    re.VERBOSE | re.ASCII,
)
_HINTED = re.compile(r"&&|\|\||<>|[=!]")
_PLAIN = {"'": re.compile(r"[^'\\]*"), '"': re.compile(r'[^"\\]*')}
_ESCAPE = re.compile(r"""\\(?:(?P<one>[\\'"ntr])|x(?P<two>[0-9A-Fa-f]{2})|u(?P<four>[0-9A-Fa-f]{4}))""")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
DIGITS_MAX = 18
"""Digits of a number before and after the point: whole numbers stay within 64 bits."""

Kind = Literal["name", "keyword", "operator", "punctuation", "string", "number", "end"]


class FilterSyntaxError(ValueError):
    """Filter text is refused: ``reason``, at ``offset`` of the text. As str: position, reason, and the place marked."""

    def __init__(self, text: str, offset: int, reason: str) -> None:
        self.offset = offset
        self.reason = reason
        super().__init__(_explain(text, offset, reason))


@attrs.frozen
class Token:
    """``value`` is the word, operator or mark itself, or what a string or number stands for."""

    kind: Kind
    value: str | int | float
    offset: int


def tokenize(text: str) -> list[Token]:
    """Split filter text into tokens. Raises FilterSyntaxError."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > BYTES_MAX:
        raise FilterSyntaxError(text, BYTES_MAX, f"the text is {size} bytes long, at most {BYTES_MAX} are allowed")
    tokens = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            _refuse(text, at)
        if found.lastgroup == "quote":
            value, end = _string(text, at)
            tokens.append(Token("string", value, at))
        else:
            end = found.end()
            if found.lastgroup != "space":
                tokens.append(_token(text, str(found.lastgroup), found.group(), at))
        at = end
    tokens.append(Token("end", "", len(text)))
    return tokens


def _token(text: str, group: str, word: str, at: int) -> Token:
    if group == "name":
        return Token("keyword" if word in KEYWORDS else "name", word, at)
    if group == "number":
        whole, _, fraction = word.removeprefix("-").partition(".")
        if max(len(whole), len(fraction)) > DIGITS_MAX:
            raise FilterSyntaxError(text, at, f"a number has at most {DIGITS_MAX} digits")
        return Token("number", float(word) if fraction else int(word), at)
    return Token("operator" if group == "operator" else "punctuation", word, at)


def _string(text: str, start: int) -> tuple[str, int]:
    """Read a quoted string; gives its value and the offset behind it."""
    quote = text[start]
    parts = []
    at = start + 1
    while True:
        plain = _PLAIN[quote].match(text, at)
        assert plain is not None  # it matches the empty string
        parts.append(plain.group())
        at = plain.end()
        if at == len(text):
            raise FilterSyntaxError(text, start, f"the string that begins here has no closing {quote}")
        if text[at] == quote:
            return "".join(parts), at + 1
        escape = _ESCAPE.match(text, at)
        if escape is None:
            raise FilterSyntaxError(text, at, r"unknown escape; there are \\ \' \" \n \t \r \xNN \uNNNN")
        one, code = escape["one"], escape["two"] or escape["four"]
        parts.append(_ESCAPED.get(one, one) if one else chr(int(code, 16)))
        at = escape.end()


def _refuse(text: str, at: int) -> NoReturn:
    """Say what is wrong with a character that begins no token."""
    hinted = _HINTED.match(text, at)
    if hinted is not None:
        reason = f"{hinted.group()} is not an operator; {HINTS[hinted.group()]}"
    elif text[at].isascii() and (text[at].isdigit() or text[at] == "-"):
        reason = "not a number; write digits, with a point for a fraction, or quote it"
    else:
        reason = f"unexpected {printable(text[at])}"
    raise FilterSyntaxError(text, at, reason)


def _explain(text: str, offset: int, reason: str) -> str:
    """Put position, reason and the marked line together; the text is escaped, for it may go to a terminal."""
    begin = text.rfind("\n", 0, offset) + 1
    line = text[begin:].split("\n", 1)[0]
    row, column = text.count("\n", 0, offset) + 1, offset - begin
    position = f"line {row}, column {column + 1}" if "\n" in text else f"column {column + 1}"
    first = max(0, column - SHOWN_MAX // 2)
    before = ("…" if first else "") + printable(line[first:column])
    after = line[column : first + SHOWN_MAX]
    more = "…" if len(line) > first + SHOWN_MAX else ""
    return f"at {position}: {reason}\n    {before}{printable(after)}{more}\n    {' ' * len(before)}^"
