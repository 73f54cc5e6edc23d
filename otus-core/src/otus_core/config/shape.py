"""What a configuration class looks like: its fields in order, their types as a small closed set of shapes.

Validator, JSON Schema, sample and reference all walk these, so that they cannot differ. They are tuples: every command
that reads configuration makes these classes anew, and those of attrs take three times as long to make.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import attrs

from otus_core.config.fields import OPTION, DurationMark, Option
from otus_core.config.own_types import OwnType, find_own_type


class Scalar(NamedTuple):
    """``type`` is bool, int, float, str, or object for anything at all."""

    type: type


class Length:
    """A duration: a number of seconds, or text such as ``500ms``."""


class Null:
    """No value."""


class Choice(NamedTuple):
    """One of a few values."""

    values: tuple[Any, ...]


class Own(NamedTuple):
    """A single value of a type that is registered."""

    type: OwnType


class Items(NamedTuple):
    """A list of one shape; ``container`` is what the values are put in."""

    item: Shape
    container: type


class Entries(NamedTuple):
    """A mapping from text to one shape."""

    value: Shape


class Nested(NamedTuple):
    """Another configuration class."""

    cls: type


class Either(NamedTuple):
    """Any of several shapes, tried in order."""

    options: tuple[Shape, ...]


Shape = Scalar | Length | Null | Choice | Own | Items | Entries | Nested | Either


class Field(NamedTuple):
    """One key of a configuration: ``argument`` is what the class's ``__init__`` calls it, ``hint`` the
    type that the class gives it.
    """

    key: str
    argument: str
    hint: Any
    shape: Shape
    option: Option
    default: Any

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is attrs.NOTHING

    @property
    def keys(self) -> tuple[str, ...]:
        """Every spelling of the key that is accepted."""
        return (self.key, self.option.alias) if self.option.alias else (self.key,)


class UnknownShape(TypeError):
    """A configuration class has a field of a type that cannot come from YAML or JSON."""


@lru_cache(maxsize=512)
def fields_of(cls: type) -> tuple[Field, ...]:
    """Give the fields of an attrs class. Raises UnknownShape, and NameError for annotations that cannot be resolved."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(_field(cls, attribute, hints[attribute.name]) for attribute in attrs.fields(cls) if attribute.init)


def _field(cls: type, attribute: Any, hint: Any) -> Field:
    try:
        shape = shape_of(hint)
    except UnknownShape as error:
        raise UnknownShape(f"{cls.__name__}.{attribute.name}: {error}") from None
    return Field(
        key=attribute.name,
        argument=attribute.alias,
        hint=hint,
        shape=shape,
        option=attribute.metadata.get(OPTION, Option()),
        default=_default(attribute.default),
    )


def _default(default: Any) -> Any:
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        if default.takes_self:  # depends on the other fields: only the class itself can tell
            return None
        return default.factory()
    return default


def shape_of(hint: Any) -> Shape:
    """Give the shape of a type annotation. Raises UnknownShape."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Length() if DurationMark in arguments[1:] else shape_of(arguments[0])
    if origin is Literal:
        return Choice(arguments)
    if origin in (typing.Union, types.UnionType):
        return Either(tuple(map(shape_of, arguments)))
    if hint is None or hint is types.NoneType:
        return Null()
    if hint in (bool, int, float, str):
        return Scalar(hint)
    if hint in (Any, object):
        return Scalar(object)
    if isinstance(hint, type) and attrs.has(hint):
        return Nested(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return Choice(tuple(one.value for one in hint))
    own = find_own_type(hint)
    if own is not None:
        return Own(own)
    return _collection_of(hint, origin, arguments)


def _collection_of(hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Shape:
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return Items(shape_of(arguments[0]), tuple)
    if origin in (list, frozenset) and len(arguments) == 1:
        return Items(shape_of(arguments[0]), origin)
    if origin is Sequence and len(arguments) == 1:
        return Items(shape_of(arguments[0]), tuple)
    if origin in (dict, Mapping) and len(arguments) == 2 and arguments[0] is str:
        return Entries(shape_of(arguments[1]))
    raise UnknownShape(
        f"type {hint!r} cannot be configured; use bool, int, float, str, Duration, Literal, tuple[X, ...], list[X], "
        "dict[str, X], X | None, Any, an Enum, an IP address or network, Path, another configuration class, or a type "
        "that is registered with register_type"
    )


SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""The units of durations, the smallest first."""


def is_duration(shape: Shape | None) -> bool:
    """Whether a number of this shape is seconds."""
    return isinstance(shape, Length) or isinstance(shape, Either) and any(map(is_duration, shape.options))


def figure(number: float, shape: Shape | None) -> str:
    """Write a number, or a bound of it, as people write it: ``24h`` where it is a duration."""
    if is_duration(shape) and (text := spell(number)) is not None:
        return text
    return str(int(number)) if float(number).is_integer() else str(number)


def spell(seconds: float) -> str | None:
    """Write a duration with the largest unit of which it is a whole number, so that reading it gives the same; ``None``
    where there is none.
    """
    if seconds == 0:
        return "0s"
    for unit, size in reversed(SECONDS.items()):
        n = round(seconds / size)
        if n and n * size == seconds:
            return f"{n}{unit}"
    return None


def say(shape: Shape) -> str:
    """Name a shape for people: ``a list of text``."""
    if isinstance(shape, Scalar):
        return {bool: "true or false", int: "an integer", float: "a number", str: "text"}.get(shape.type, "any value")
    if isinstance(shape, Length):
        return "a duration such as 500ms, 3s, 5m or 24h"
    if isinstance(shape, Choice):
        return "one of " + ", ".join(map(str, shape.values))
    if isinstance(shape, Own):
        return shape.type.takes
    if isinstance(shape, Items):
        return "a list of " + say(shape.item).removeprefix("an ").removeprefix("a ")
    if isinstance(shape, Either):
        return " or ".join(say(option) for option in shape.options)
    return "null" if isinstance(shape, Null) else "a mapping"
