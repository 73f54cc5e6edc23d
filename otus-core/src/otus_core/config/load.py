"""Reads YAML and JSON strictly: bounded in size and depth, no aliases, anchors, tags or duplicate keys.

In: a file, or text. Out: plain dicts, lists, str, int, float, bool and None. Raises ConfigInvalid, with the line where
there is one.

Plain scalars mean what YAML 1.2 says they mean: ``no``, ``on``, ``22:22``, ``0777`` and ``2026-02-21`` are text.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from otus_core.errors import ConfigInvalid, ConfigProblem
from otus_core.model.text import printable

SIZE_MAX = 1 << 20
"""Bytes; the largest task anybody has written is a hundredth of it."""
DEPTH_MAX = 32
"""A few times what the deepest configuration needs."""
NUMBER_MAX = 40
"""Characters of a number; a longer one is text, for turning digits into an integer takes quadratic time."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.2.2 §10.3.2, the core schema, less octal: 0o17 is what nobody writes here
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)


def load_file(path: str | Path) -> Any:
    """Read one YAML or JSON file, ``-`` for standard input. Raises ConfigInvalid."""
    source = "standard input" if str(path) == "-" else str(path)
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(SIZE_MAX + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise ConfigInvalid(f"cannot be read: {error.strerror or error}", source) from None
    return load_bytes(data, source)


def load_bytes(data: bytes, source: str = "") -> Any:
    """Read YAML or JSON from UTF-8 bytes. Raises ConfigInvalid."""
    if len(data) > SIZE_MAX:
        raise ConfigInvalid(f"is larger than {SIZE_MAX} bytes", source)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigInvalid(f"line {line}: is not UTF-8", source) from None
    return load_text(text, source)


def load_text(text: str, source: str = "") -> Any:
    """Read YAML or JSON from text. Raises ConfigInvalid."""
    if len(text) > SIZE_MAX:
        raise ConfigInvalid(f"is larger than {SIZE_MAX} characters", source)
    try:
        if text.lstrip()[:1] in ("{", "["):
            return _json(text)
        return _Reader(text).read()
    except _Wrong as wrong:
        raise ConfigInvalid([ConfigProblem("", str(wrong))], source) from None


class _Wrong(Exception):
    """The text is refused."""


def _json(text: str) -> Any:
    """Read JSON; what is not JSON may still be YAML that begins with a bracket."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        try:
            return _Reader(text).read()
        except _Wrong:
            raise _Wrong(f"line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise _Wrong(f"is nested deeper than {DEPTH_MAX} levels") from None
    except _Wrong:
        _Reader(text).read()  # tells the line
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise _Wrong(printable(str(error), 200)) from None
    if _deeper(value, DEPTH_MAX):
        raise _Wrong(f"is nested deeper than {DEPTH_MAX} levels")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 8259 §4 leaves open what a name that comes twice means; readers differ, so it is refused.
    made = dict(pairs)
    if len(made) != len(pairs):
        # ``made`` has the keys in the order in which they came first: where the two part, a key comes again.
        twice = next((key for (key, _), first in zip(pairs, made, strict=False) if key != first), pairs[len(made)][0])
        raise _Wrong(f'the key "{printable(twice, 60)}" is there twice')
    return made


def _no_constant(name: str) -> Any:
    raise _Wrong(f"{name} is not a number")


def _finite(text: str) -> float:
    """Give a number's value; one beyond a float's range would be infinity."""
    value = float(text)
    if not math.isfinite(value):
        raise _Wrong(f"{printable(text, 60)} is too large for a number")
    return value


def _deeper(value: Any, limit: int) -> bool:
    """Say whether a value is nested deeper than the limit, without recursion."""
    level: list[Any] = [value]
    for _ in range(limit + 1):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return False
    return True


def _inner(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


class _Reader:
    """Builds values from YAML's events, and so sees each anchor, tag and key before anything is made of it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._root: list[Any] = []
        self._open: list[Any] = [self._root]
        self._keys: list[Any] = [None]
        self._documents = 0

    def read(self) -> Any:
        """Give the document's value. Raises _Wrong."""
        try:
            for event in yaml.parse(self._text, Loader=_Loader):
                self._take(event)
        except yaml.YAMLError as error:
            raise _Wrong(_yaml_error(error)) from None
        return self._root[0] if self._root else None

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._check(event)
            self._put(event, event.value if self._wants_key() else self._value(event))
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._check(event)
            # While reading, before anything of that depth is built: whoever looks through it calls itself once a level.
            if len(self._open) > DEPTH_MAX:
                raise self._wrong(event, f"is nested deeper than {DEPTH_MAX} levels")
            value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._put(event, value)
            self._open.append(value)
            self._keys.append(None)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._open.pop()
            self._keys.pop()
        elif isinstance(event, yaml.AliasEvent):
            raise self._wrong(event, f"the alias *{event.anchor} is not allowed: write the value out")
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._wrong(event, "a second document begins; a file holds one")

    def _value(self, event: Any) -> Any:
        try:
            return _scalar(event)
        except _Wrong as wrong:
            raise self._wrong(event, str(wrong)) from None

    def _check(self, event: Any) -> None:
        if event.anchor is not None:
            raise self._wrong(event, f"the anchor &{event.anchor} is not allowed: write the value out")
        if event.tag is not None:
            raise self._wrong(event, f"the tag {printable(event.tag, 60)} is not allowed")

    def _wants_key(self) -> bool:
        return isinstance(self._open[-1], dict) and self._keys[-1] is None

    def _put(self, event: Any, value: Any) -> None:
        holder = self._open[-1]
        if isinstance(holder, list):
            holder.append(value)
        elif self._keys[-1] is not None:
            holder[self._keys[-1][0]] = value
            self._keys[-1] = None
        elif not isinstance(event, yaml.ScalarEvent):
            raise self._wrong(event, "a key must be text")
        elif value in holder:
            raise self._wrong(event, f'the key "{printable(value, 60)}" is there twice')
        else:
            self._keys[-1] = (value,)

    @staticmethod
    def _wrong(event: Any, message: str) -> _Wrong:
        return _Wrong(f"line {event.start_mark.line + 1}: {message}")


def _scalar(event: Any) -> Any:
    """Give a scalar's value; what is quoted or in a block is text."""
    text: str = event.value
    if not event.implicit[0] or event.style in ("'", '"', "|", ">"):
        return text
    if _NULL.match(text):
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) <= NUMBER_MAX:
        if _INT.match(text):
            return int(text)
        if _HEX.match(text):
            return int(text, 16)
        if _FLOAT.match(text) and not (text.lstrip("+-")[:1] == "0" and text.lstrip("+-").isdigit()):
            return _finite(text)
    return text


def _yaml_error(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = printable(str(getattr(error, "problem", None) or error).splitlines()[0], 200)
    return problem if mark is None else f"line {mark.line + 1}: {problem}"
