"""Between plain data and configuration objects, with cattrs, strictly: nothing is coerced, and everything that is wrong
is told at once.

In: a class and what YAML or JSON gave. Out: an instance, or ConfigInvalid with a problem for each path; and back.

Each kind of type has a hook. A hook takes a value and the type that it is to have, and raises ConfigInvalid, whose
paths begin at that value; who holds the value puts its own key before them. Hooks are functions of the type, not code
that is generated for each class: most commands read each class once, and generating takes longer than that.
"""

from __future__ import annotations

import math
import re
import threading
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import attrs

from otus_core.config.bounds import check_bounds
from otus_core.config.own_types import find_own_type
from otus_core.config.problems import BAD, SHOWN_MAX, Problems, join, tell, unknown_key
from otus_core.config.shape import (
    SECONDS,
    Entries,
    Field,
    Items,
    Nested,
    fields_of,
    is_duration,
    say,
    shape_of,
    spell,
)
from otus_core.errors import ConfigInvalid
from otus_core.model.text import printable

if TYPE_CHECKING:
    from cattrs import BaseConverter

T = TypeVar("T")

DEPTH_MAX = 32
"""Classes within classes that are followed; a configuration has five or so."""
# Nine digits before and after the point: ASCII alone, and no number that takes long to read.
DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)\Z", re.ASCII)


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
    return _take(cls, data, path, problems)


def unstructure(config: Any, hint: Any = None) -> Any:
    """Give plain dicts, lists and scalars that ``structure`` makes the same object of.

    Secrets are among them: ``mask`` covers those.

    ``hint`` is the value's type where it is known: durations are then written with their unit, as in ``24h``.
    """
    return converter().unstructure(config, unstructure_as=hint)


@lru_cache(maxsize=1)
def converter() -> BaseConverter:
    """Give the converter that all configuration, tasks and messages go through."""
    from cattrs import BaseConverter  # 20 ms, which commands that read no such data are spared

    made = BaseConverter()
    for scalar in (bool, int, float, str, bytes, Path):  # their subclasses too: enumerations and types of plugins
        made.register_structure_hook(scalar, _read_single)
        made.register_unstructure_hook(scalar, _write)
    made.register_structure_hook_func(_is_single, _read_single)
    made.register_structure_hook_func(attrs.has, _read_instance)
    made.register_structure_hook_func(_is_of(Literal), _read_literal)
    made.register_structure_hook_func(_is_of(Annotated), _read_annotated)
    made.register_structure_hook_func(_is_of(typing.Union, types.UnionType), _read_union)
    made.register_structure_hook_func(_is_of(tuple, list, frozenset, Sequence), _read_items)
    made.register_structure_hook_func(_is_of(dict, Mapping), _read_entries)
    made.register_unstructure_hook_factory(lambda _: True, _writer)
    return made


def _is_of(*origins: Any) -> Callable[[Any], bool]:
    return lambda hint: get_origin(hint) in origins


class _Nesting(threading.local):
    depth = 0


_nesting = _Nesting()


def _read_instance(data: Any, cls: type) -> Any:
    if _nesting.depth > DEPTH_MAX:
        raise ConfigInvalid(f"nested deeper than {DEPTH_MAX} levels")
    if not isinstance(data, Mapping):
        raise ConfigInvalid(f"expected a mapping, got {tell(data)}")
    _nesting.depth += 1
    try:
        return _fill(cls, data)
    finally:
        _nesting.depth -= 1


def _fill(cls: type, data: Mapping[Any, Any]) -> Any:
    fields, problems = fields_of(cls), Problems()
    known = [key for field in fields for key in field.keys]
    for key in data:
        if key not in known and not problems.is_full:
            problems.add(printable(str(key), SHOWN_MAX), unknown_key(key, known))
    arguments = {}
    for field in fields:
        value = _take_field(field, data, problems)
        if value is not attrs.NOTHING:
            arguments[field.argument] = value
    if problems.found:
        raise ConfigInvalid(problems.found)
    return _call(cls, arguments)


def _take_field(field: Field, data: Mapping[str, Any], problems: Problems) -> Any:
    """Take one field's value; ``NOTHING`` leaves it to its default."""
    given = [key for key in field.keys if key in data]
    if not given:
        return problems.add(field.key, "is required") if field.required else attrs.NOTHING
    if len(given) > 1:
        return problems.add(given[1], f"is another spelling of {given[0]}: give one of them")
    found = Problems()
    value = _take(field.hint, data[given[0]], given[0], found)
    if value is not BAD:
        check_bounds(field, value, given[0], found)
    # Messages show what was given, which for a secret must not happen, however wrong it is.
    if found.found and field.option.secret:
        return problems.add(
            given[0], f"expected {say(field.shape)} within its bounds; what was given is secret and not shown"
        )
    for problem in found.found:
        problems.add(problem.path, problem.message)
    return value


def _take(hint: Any, value: Any, path: str, problems: Problems) -> Any:
    """Take the value at a path, noting what is wrong with it; then it gives ``BAD``."""
    try:
        return converter().structure(value, hint)
    except ConfigInvalid as error:
        return problems.add_below(path, error)


def _call(cls: type, arguments: dict[str, Any]) -> Any:
    """Call the class; its validators may raise anything, for some are a plugin's."""
    try:
        return cls(**arguments)
    except ConfigInvalid:
        raise
    except (ValueError, TypeError) as error:
        attribute = next((part for part in error.args[1:] if isinstance(part, attrs.Attribute)), None)
        message = str(error.args[0]) if error.args else type(error).__name__
        problems = Problems()
        problems.add("" if attribute is None else attribute.name, printable(message, 500))
        raise ConfigInvalid(problems.found) from None
    except Exception as error:
        raise _explain_failure(error) from None


def _explain_failure(error: Exception) -> ConfigInvalid:
    return ConfigInvalid(f"cannot be checked: {type(error).__name__}: {printable(str(error), 300)}")


def _wrong(hint: Any, value: Any, why: str = "") -> ConfigInvalid:
    return ConfigInvalid(f"expected {say(shape_of(hint))}, got {tell(value)}{f': {why}' if why else ''}")


def _is_single(hint: Any) -> bool:
    return hint in (Any, object, types.NoneType) or find_own_type(hint) is not None or _is_enum(hint)


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Enum)


def _read_single(value: Any, hint: Any) -> Any:
    """Take a value that holds no others."""
    own = find_own_type(hint)
    if own is not None:
        return _read_own(own.read, value, hint)
    if hint in (Any, object):
        return value
    if hint is float:
        return _read_number(value, hint)
    if _is_enum(hint):
        meant = [one for one in hint if _same(one.value, value)]
        return meant[0] if meant else _raise(_wrong(hint, value))
    return value if type(value) is hint else _raise(_wrong(hint, value))  # a bool is an int to isinstance


def _read_own(read: Callable[[Any], Any], value: Any, hint: Any) -> Any:
    """Have a type of its own read a value; its reader may raise anything, for some are a plugin's."""
    try:
        return read(value)
    except ConfigInvalid:
        raise
    except (ValueError, TypeError) as error:
        raise _wrong(hint, value, printable(str(error), 300)) from None
    except Exception as error:
        raise _explain_failure(error) from None


def _raise(error: ConfigInvalid) -> Any:
    raise error


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _read_literal(value: Any, hint: Any) -> Any:
    return value if any(_same(one, value) for one in get_args(hint)) else _raise(_wrong(hint, value))


def _read_annotated(value: Any, hint: Any) -> Any:
    if not is_duration(shape_of(hint)):
        return converter().structure(value, get_args(hint)[0])
    if not isinstance(value, str):
        return _read_number(value, hint)
    matched = DURATION.match(value)
    return float(matched[1]) * SECONDS[matched[2]] if matched else _raise(_wrong(hint, value))


def _read_number(value: Any, hint: Any) -> float:
    # Bounded below the largest float (1.8e308), so that a number of seconds can still be multiplied.
    if type(value) not in (int, float) or abs(value) > 1e300 or math.isnan(value):
        raise _wrong(hint, value)
    return float(value)


def _read_items(value: Any, hint: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _wrong(hint, value)
    problems, items = Problems(), []
    for i, item in enumerate(value):
        items.append(_take(get_args(hint)[0], item, join("", i), problems))
        if problems.is_full:
            break
    if problems.found:
        raise ConfigInvalid(problems.found)
    container = get_origin(hint)
    return (tuple if container is Sequence else container)(items)


def _read_entries(value: Any, hint: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigInvalid(f"expected a mapping, got {tell(value)}")
    problems, made = Problems(), {}
    for key, item in value.items():
        where = printable(str(key), SHOWN_MAX)
        if not isinstance(key, str):
            problems.add(where, f"a key must be text, got {tell(key)}")
        made[key] = _take(get_args(hint)[1], item, where, problems)
        if problems.is_full:
            break
    if problems.found:
        raise ConfigInvalid(problems.found)
    return made


def _read_union(value: Any, hint: Any) -> Any:
    """Take the first option that fits; if none does, tell the problems of the one that was meant."""
    for option in get_args(hint):
        try:
            return converter().structure(value, option)
        except ConfigInvalid:
            shape = shape_of(option)
            is_object = isinstance(shape, (Nested, Entries)) and isinstance(value, Mapping)
            if is_object or isinstance(shape, Items) and isinstance(value, list):
                raise  # the right kind of value, and something in it is wrong
    raise _wrong(hint, value)


def _writer(hint: Any) -> Callable[[Any], Any]:
    """Give what writes values of a type as plain data.

    A value that is not of the type is written as what it is: a default may be ``None`` where the class makes it.
    """
    origin = get_origin(hint)
    if origin in (tuple, list, frozenset, Sequence):
        return partial(_write_list, get_args(hint)[0])
    if origin in (dict, Mapping):
        return partial(_write_dict, get_args(hint)[1])
    if origin in (Annotated, typing.Union, types.UnionType):
        return partial(_write_one_of, is_duration(shape_of(hint)))
    return _write


def _write_list(item: Any, value: Any) -> Any:
    return [unstructure(one, item) for one in value] if isinstance(value, (list, tuple, frozenset)) else value


def _write_dict(item: Any, value: Any) -> Any:
    return {key: unstructure(one, item) for key, one in value.items()} if isinstance(value, dict) else value


def _write_one_of(in_seconds: bool, value: Any) -> Any:
    """Write a value of one of several types: it says itself what it is, unless it is a number of seconds."""
    written = spell(value) if in_seconds and type(value) in (int, float) else None
    return written if written is not None and DURATION.match(written) else _write(value)


def _write(value: Any) -> Any:
    if isinstance(value, (list, tuple, frozenset)):
        return _write_list(None, value)
    if isinstance(value, dict):
        return _write_dict(None, value)
    if isinstance(value, Enum):
        return value.value
    own = next(filter(None, map(find_own_type, type(value).__mro__)), None)
    if own is not None:
        return own.write(value)
    cls: type = type(value)
    if attrs.has(cls):
        return {field.key: unstructure(getattr(value, field.key), field.hint) for field in fields_of(cls)}
    return value
