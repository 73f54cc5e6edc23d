"""What tells who somebody is, and what stands in its place: other letters and digits, as many of each.

In: bytes of SIP and of what is in its bodies. Out: bytes of the same length; nothing but letters and digits is changed,
so that everything stays where it was, and lengths stay honest. The same name becomes the same pseudonym, with one key.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b

REMEMBERED_MAX = 65536
"""Pseudonyms that are kept in memory; they can be made again."""
NUMBER_MIN = 7
"""Digits from which on a number is taken for that of a telephone wherever it stands."""
NAME_MIN = 5
"""Letters and digits from which on a name of both is masked wherever it stands in its message."""
SCHEMES = rb"(?:sips?|im|pres|mailto|xmpp|h323)"

Span = tuple[int, int]

# RFC 3261 §25.1: userinfo ends at the last @ before the host. More is masked than needed rather than less. Every
# pattern takes linear time, or looks no further than a bound.
# Quotes and angle brackets have no place in a user, but some write them: they belong to it where an @ follows before
# anything that separates.
_USER = re.compile(rb"(?i)(?<![A-Za-z0-9])" + SCHEMES + rb":((?:[^@\s<>\"]|[<>\"](?=[^@\s,;:]{0,64}@)){1,512})@")
_TELEPHONE = re.compile(rb"(?i)(?<![A-Za-z0-9])tel:([^;,>\s\"?]+)")
_CONTEXT = re.compile(rb"(?i);phone-context=([^;,>\s\"]+)")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"[ \t]*<')
_BARE = re.compile(rb"(?im)(?:^[A-Za-z-]{1,64}[ \t]{0,8}:|,)([^\"<>,;:\r\n]+)<(?=" + SCHEMES + rb":|tel:)")
_LOGIN = re.compile(rb"(?i)username\*?[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^\",\s]+))")
_DESCRIBED = re.compile(rb"(?m)^(?:o=([^ \r\n]+)|[siuepk]=([^\r\n]+))")
_NUMBER = re.compile(rb"(?<![A-Za-z0-9.])\+?([0-9](?:[-() ]?[0-9]){%d,31})(?![A-Za-z0-9])" % (NUMBER_MIN - 1))
_PART = re.compile(rb"[^;:=&?,]+")  # a user may have a password and parameters
_WORD = re.compile(rb"[A-Za-z0-9]{%d,64}" % NAME_MIN)
_ODD = re.compile(rb"[^A-Za-z0-9\x80-\xff]+")
_LINE = re.compile(rb"(?m)^([A-Za-z0-9.!%*_+`'~-]+)[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*")
PLAIN_FIELDS = frozenset(
    b"via v call-id i cseq content-length l max-forwards expires min-expires session-expires x min-se rseq rack date "
    b"timestamp retry-after user-agent server allow supported k require proxy-require www-authenticate "
    b"proxy-authenticate content-type c accept event o allow-events u record-route route contact m".split()
)
"""Header fields whose numbers are none of telephones, as far as they stand outside of URIs."""


class Pseudonyms:
    """Masks with one key."""

    def __init__(self, key: bytes, digits: int) -> None:
        self._key = key
        self._digits = digits
        self._made: OrderedDict[bytes, bytes] = OrderedDict()

    def name(self, name: bytes) -> bytes:
        """Give the pseudonym of a name: ``+49 30-5550100`` and ``49305550100`` get the same digits."""
        told = _ODD.sub(b"", name)
        if not told:
            return name
        letters = iter(self._pseudonym(told))
        return bytes(next(letters) if _is_letter(c) else c for c in name)

    def _pseudonym(self, told: bytes) -> bytes:
        found = self._made.get(told)
        if found is None:
            if len(self._made) >= REMEMBERED_MAX:
                self._made.popitem(last=False)
            found = self._made[told] = self._make(told)
        return found

    def _make(self, told: bytes) -> bytes:
        kept = self._digits if told.isdigit() and len(told) >= NUMBER_MIN else 0
        for turn in range(256):
            made = bytes(map(_other, told, self._stream(told.lower(), turn)))
            made = made[: len(made) - kept] + told[len(told) - kept :]
            if made != told or not told.isalnum():
                return made
        return b"x" * len(told)

    def _stream(self, told: bytes, turn: int) -> Iterator[int]:
        """Give bytes that only the key tells, as many as are asked for."""
        for block in range(1 << 20):
            yield from blake2b(told, key=self._key, salt=b"%d.%d" % (turn, block)).digest()


def _is_letter(c: int) -> bool:
    return c > 127 or chr(c).isalnum()


def _other(c: int, chance: int) -> int:
    """Give a digit for a digit, a letter for a letter; a byte of UTF-8 becomes a letter too."""
    if 48 <= c <= 57:
        return 48 + chance % 10
    return (65 if 65 <= c <= 90 else 97) + chance % 26


def names_in_head(head: bytes) -> Iterator[Span]:
    """Find users, numbers and display names in a start line and header fields; spans may lie in each other."""
    for pattern in (_USER, _TELEPHONE, _CONTEXT, _QUOTED, _BARE, _LOGIN):
        yield from _spans(pattern, head, 0)
    for line in _LINE.finditer(head):
        if line[1].lower() not in PLAIN_FIELDS:
            yield from _spans(_NUMBER, line[0], line.start())


def names_in_text(text: bytes) -> Iterator[Span]:
    """Find users and numbers in any text."""
    for pattern in (_USER, _TELEPHONE, _CONTEXT, _QUOTED, _LOGIN):
        yield from _spans(pattern, text, 0)


def names_in_description(body: bytes) -> Iterator[Span]:
    """Find who made a session description, and how to reach him (RFC 8866 §5.2 to §5.6): o=, s=, i=, u=, e=, p=, k=."""
    yield from names_in_text(body)
    yield from _spans(_DESCRIBED, body, 0)


class Names:
    """Names that were masked, the last ones."""

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, name: bytes) -> bool:
        return name in self._names

    def add(self, name: bytes) -> None:
        """Remember a name; the oldest is forgotten."""
        self._names[name] = None
        self._names.move_to_end(name)
        if len(self._names) > REMEMBERED_MAX:
            self._names.popitem(last=False)


def mask_spans(text: bytes, spans: Iterator[Span], pseudonyms: Pseudonyms, known: set[bytes] | Names) -> bytes:
    """Put pseudonyms into these places, and wherever else in the text one of these names stands; ``known`` are further
    names, and gets those that cannot be other words.
    """
    made = bytearray(text)
    done = bytearray(len(text))  # what has its pseudonym already
    for begin, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if end > begin and not any(done[begin:end]):
            done[begin:end] = b"\1" * (end - begin)
            for part in _PART.finditer(text, begin, end):
                made[part.start() : part.end()] = pseudonyms.name(part[0])
                told = _ODD.sub(b"", part[0]).lower()
                if len(told) >= (NUMBER_MIN if told.isdigit() else NAME_MIN) and not told.isalpha():
                    known.add(told)
    for word in _WORD.finditer(text):
        begin, end = word.span()
        if word[0].lower() in known and not any(done[begin:end]):
            made[begin:end] = pseudonyms.name(word[0])
    return bytes(made)


def _spans(pattern: re.Pattern[bytes], text: bytes, offset: int) -> Iterator[Span]:
    for found in pattern.finditer(text):
        group = found.lastindex or 0
        yield found.start(group) + offset, found.end(group) + offset
