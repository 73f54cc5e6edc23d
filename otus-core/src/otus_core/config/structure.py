"""Plain data into a configuration object, strictly: nothing is coerced, and everything that is wrong is told at once.

In: a configuration class and what YAML or JSON gave. Out: an instance, or ConfigInvalid with a problem for each path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import attrs

from otus_core.config.fields import Option
from otus_core.config.shape import (
    SECONDS,
    Choice,
    Either,
    Entries,
    Field,
    Items,
    Length,
    Nested,
    Null,
    Scalar,
    Shape,
    fields_of,
    figure,
    is_duration,
    spoken,
)
from otus_core.errors import ConfigInvalid, ConfigProblem, closest
from otus_core.model.text import printable

T = TypeVar("T")

DEPTH_MAX = 32
"""Levels of nesting that are followed; a configuration has five or so."""
SHOWN_MAX = 60
"""Characters of a wrong value that a message shows."""
PROBLEMS_MAX = 100
"""Problems that are told at once; more help nobody."""
DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)\Z", re.ASCII)

BAD = object()
"""Stands for a value that has been reported as a problem."""


class Problems:
    """Collects what is wrong, up to ``PROBLEMS_MAX``."""

    def __init__(self) -> None:
        self.found: list[ConfigProblem] = []

    def add(self, path: str, message: str) -> Any:
        """Note a problem; gives ``BAD``, so that a caller can return it."""
        if len(self.found) < PROBLEMS_MAX:
            self.found.append(ConfigProblem(path, message))
        return BAD


def structure(cls: type[T], data: Any, path: str = "", source: str = "") -> T:
    """Make an instance of a configuration class.

    Raises ConfigInvalid, which lists every problem with its path under ``path``.
    """
    problems = Problems()
    made = build(cls, data, path, problems)
    if problems.found:
        raise ConfigInvalid(problems.found, source)
    assert isinstance(made, cls)
    return made


def build(cls: type, data: Any, path: str, problems: Problems) -> Any:
    """Make an instance, noting what is wrong; gives ``BAD`` when something is."""
    return _build_nested(cls, data, path, problems, 0)


def join(path: str, key: str | int) -> str:
    """Extend a path: ``reporters[0].config.topic``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def unknown_key(key: object, known: Sequence[str]) -> str:
    """Say that a key is unknown, and which one was meant."""
    close = closest(str(key)[:SHOWN_MAX], known)
    if close is not None:
        return f"unknown key; did you mean {printable(close, SHOWN_MAX)}?"
    return f"unknown key; there are: {', '.join(known)}" if known else "unknown key; nothing can be set here"


def told(value: Any) -> str:
    """Show a wrong value in a message: its kind and, short and escaped, itself."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the text "{printable(value, SHOWN_MAX)}"'
    if isinstance(value, int):
        return f"the integer {value}" if abs(value) < 10**18 else "a huge integer"
    if isinstance(value, float):
        return f"the number {value!r}"
    return (
        "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, Sequence) else type(value).__name__
    )


def _build_nested(cls: type, data: Any, path: str, problems: Problems, depth: int) -> Any:
    if depth > DEPTH_MAX:
        return problems.add(path, f"nested deeper than {DEPTH_MAX} levels")
    if not isinstance(data, Mapping):
        return problems.add(path, f"expected a mapping, got {told(data)}")
    fields = fields_of(cls)
    before = len(problems.found)
    known = [key for field in fields for key in field.keys]
    for key in data:
        if key not in known:
            problems.add(join(path, printable(str(key), SHOWN_MAX)), unknown_key(key, known))
    arguments = {}
    for field in fields:
        value = _taken(field, data, path, problems, depth)
        if value is not attrs.NOTHING:
            arguments[field.argument] = value
    return BAD if len(problems.found) > before else _made(cls, arguments, path, problems)


def _taken(field: Field, data: Mapping[str, Any], path: str, problems: Problems, depth: int) -> Any:
    """Take one field's value; ``NOTHING`` leaves it to its default."""
    given = [key for key in field.keys if key in data]
    if not given:
        if field.required:
            return problems.add(join(path, field.key), "is required")
        return attrs.NOTHING
    if len(given) > 1:
        return problems.add(join(path, given[1]), f"is another spelling of {given[0]}: give one of them")
    where = join(path, given[0])
    found = Problems()
    value = _value(field.shape, data[given[0]], where, found, depth)
    if value is not BAD:
        _check(field, value, where, found)
    if found.found and field.option.secret:
        return problems.add(
            where, f"expected {spoken(field.shape)} within its bounds; what was given is secret and not shown"
        )
    for problem in found.found:
        problems.add(problem.path, problem.message)
    return value


def _made(cls: type, arguments: dict[str, Any], path: str, problems: Problems) -> Any:
    """Call the class; its validators may raise anything, for some are a plugin's."""
    try:
        return cls(**arguments)
    except ConfigInvalid as error:
        for problem in error.problems:
            problems.add(f"{path}.{problem.path}" if path and problem.path else path or problem.path, problem.message)
        return BAD
    except (ValueError, TypeError) as error:
        attribute = next((part for part in error.args[1:] if isinstance(part, attrs.Attribute)), None)
        message = str(error.args[0]) if error.args else type(error).__name__
        return problems.add(path if attribute is None else join(path, attribute.name), printable(message, 500))
    except Exception as error:
        return problems.add(path, f"cannot be checked: {type(error).__name__}: {printable(str(error), 300)}")


def _value(shape: Shape, value: Any, path: str, problems: Problems, depth: int) -> Any:
    if isinstance(shape, Nested):
        return _build_nested(shape.cls, value, path, problems, depth + 1)
    if isinstance(shape, Items):
        return _items(shape, value, path, problems, depth)
    if isinstance(shape, Entries):
        return _entries(shape, value, path, problems, depth)
    if isinstance(shape, Either):
        return _either(shape, value, path, problems, depth)
    plain = _plain(shape, value)
    return problems.add(path, f"expected {spoken(shape)}, got {told(value)}") if plain is BAD else plain


def _plain(shape: Shape, value: Any) -> Any:
    """Check a value that holds no others."""
    if isinstance(shape, Length):
        return _duration(value)
    if isinstance(shape, Null):
        return None if value is None else BAD
    if isinstance(shape, Choice):
        return value if any(value == v and type(value) is type(v) for v in shape.values) else BAD
    assert isinstance(shape, Scalar)
    if shape.type is object:
        return value
    if shape.type is float:
        return _number(value)
    return value if type(value) is shape.type else BAD  # a bool is an int to isinstance


def _number(value: Any) -> Any:
    if type(value) not in (int, float) or abs(value) > 1e300 or math.isnan(value):
        return BAD
    return float(value)


def _duration(value: Any) -> Any:
    if isinstance(value, str):
        matched = DURATION.match(value)
        return float(matched[1]) * SECONDS[matched[2]] if matched else BAD
    return _number(value)


def _items(shape: Items, value: Any, path: str, problems: Problems, depth: int) -> Any:
    if not isinstance(value, (list, tuple)):
        return problems.add(path, f"expected {spoken(shape)}, got {told(value)}")
    items = [_value(shape.item, item, join(path, i), problems, depth + 1) for i, item in enumerate(value)]
    return BAD if any(item is BAD for item in items) else shape.container(items)


def _entries(shape: Entries, value: Any, path: str, problems: Problems, depth: int) -> Any:
    if not isinstance(value, Mapping):
        return problems.add(path, f"expected a mapping, got {told(value)}")
    made = {}
    for key, item in value.items():
        where = join(path, printable(str(key), SHOWN_MAX))
        if not isinstance(key, str):
            key = problems.add(where, f"a key must be text, got {told(key)}")
        made[key] = _value(shape.value, item, where, problems, depth + 1)
    return BAD if any(key is BAD or item is BAD for key, item in made.items()) else made


def _either(shape: Either, value: Any, path: str, problems: Problems, depth: int) -> Any:
    """Take the first option that fits; if none does, tell the problems of the one that was meant."""
    for option in shape.options:
        attempt = Problems()
        made = _value(option, value, path, attempt, depth)
        if made is not BAD:
            return made
        if (
            isinstance(option, (Nested, Entries))
            and isinstance(value, Mapping)
            or isinstance(option, Items)
            and isinstance(value, list)
        ):
            problems.found += attempt.found  # the right kind of value, and something in it is wrong
            return BAD
    return problems.add(path, f"expected {spoken(shape)}, got {told(value)}")


def _check(field: Field, value: Any, path: str, problems: Problems) -> None:
    """Hold a value to its option: lengths are the value's own, bounds and choices hold for each item of a list."""
    option = field.option
    if isinstance(value, (str, tuple, list, dict, frozenset)):
        _check_length(option, value, path, problems)
    if isinstance(value, (tuple, list)):
        for i, item in enumerate(value):
            _check_one(field, item, join(path, i), problems)
    else:
        _check_one(field, value, path, problems)


def _check_length(option: Option, value: Any, path: str, problems: Problems) -> None:
    unit = "characters" if isinstance(value, str) else "items"
    if option.min_length is not None and len(value) < option.min_length:
        problems.add(
            path, "must not be empty" if option.min_length == 1 else f"must have at least {option.min_length} {unit}"
        )
    if option.max_length is not None and len(value) > option.max_length:
        problems.add(path, f"must have at most {option.max_length} {unit}, has {len(value)}")


def _check_one(field: Field, value: Any, path: str, problems: Problems) -> None:
    option = field.option
    if option.choices and value is not None and value not in option.choices:
        close = closest(str(value)[:SHOWN_MAX], map(str, option.choices))
        hint = f"; did you mean {close}?" if close is not None else ""
        problems.add(path, f"must be one of {', '.join(map(str, option.choices))}, got {told(value)}{hint}")
    elif isinstance(value, str) and option.pattern is not None and not _pattern(option.pattern).fullmatch(value):
        problems.add(path, f"must match {option.pattern}, got {told(value)}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_bounds(field, value, path, problems)


def _check_bounds(field: Field, value: float, path: str, problems: Problems) -> None:
    option, shape = field.option, field.shape
    for bound, holds, words in (
        (option.ge, option.ge is None or value >= option.ge, "at least"),
        (option.gt, option.gt is None or value > option.gt, "greater than"),
        (option.le, option.le is None or value <= option.le, "at most"),
        (option.lt, option.lt is None or value < option.lt, "less than"),
    ):
        if bound is not None and not holds:
            got = figure(value, shape) if is_duration(shape) else told(value)
            problems.add(path, f"must be {words} {figure(bound, shape)}, got {got}")


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
