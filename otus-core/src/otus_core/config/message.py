"""Messages from elsewhere, read into a class through cattrs: quickly where they fit, in words where they do not.

Whoever can send messages can send thousands that do not fit. So ``take`` stops at the first thing that is wrong and
says nothing of it, and only for a sender who is to be told does ``problems`` look at all of it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from otus_core.config.bounds import check_bounds
from otus_core.config.converter import converter, structure
from otus_core.config.own_types import find_own_type
from otus_core.config.problems import SHOWN_MAX, Problems
from otus_core.config.shape import Field, fields_of
from otus_core.errors import ConfigInvalid, ConfigProblem, closest

T = TypeVar("T")
UNKNOWN_MAX = 20
"""Members that the class does not have, and that are looked at for what they may have been meant to be."""
BOUNDS = ("ge", "le", "gt", "lt", "min_length", "max_length", "pattern")


class _Misfit(Exception):
    """A value is not what its field takes."""


class MessageForm(Generic[T]):
    """The form of a message: a class made with ``configuration``, whose fields are the message's members.

    Members that the class does not have are ignored, so that later versions can add some.
    """

    def __init__(self, cls: type[T]) -> None:
        self._cls = cls
        self._plain: type = cls

    def take(self, data: object) -> T | None:
        """Make an instance of what JSON gave, ``None`` where it does not fit: a few µs either way."""
        if type(data) is not dict:
            return None
        try:
            return self._quick(data, self._cls)
        except Exception:  # noqa: BLE001 - cattrs raises what the class and its types raise
            return None

    def problems(self, data: object) -> tuple[ConfigProblem, ...]:
        """Give everything because of which ``take`` gives ``None``, each with its path; empty where it fits.

        A member that the class does not have is a problem where it looks like one that is missing.
        """
        try:
            structure(self._cls, self._without_others(data) if isinstance(data, dict) else data)
        except ConfigInvalid as error:
            return tuple(error.problems)
        return ()

    def _without_others(self, data: dict[str, Any]) -> dict[str, Any]:
        known = [key for field in fields_of(self._plain) for key in field.keys]
        missing = [key for key in known if key not in data]
        others = islice((key for key in data if key not in known), UNKNOWN_MAX)
        similar = [key for key in others if closest(key[:SHOWN_MAX], missing)]
        return {key: data[key] for key in (*known, *similar) if key in data}

    @cached_property
    def _quick(self) -> Callable[[dict[str, Any], type[T]], T]:
        """The code that cattrs generates for the class, with our strict hooks. It takes a millisecond to make."""
        from cattrs import Converter
        from cattrs.gen import make_dict_structure_fn, override

        own: dict[str, Any] = {
            field.argument: override(struct_hook=_quick_hook(field), rename=field.key)
            for field in fields_of(self._plain)
        }
        made = Converter(detailed_validation=False)
        return make_dict_structure_fn(self._cls, made, _cattrs_detailed_validation=False, **own)


def _quick_hook(field: Field) -> Callable[[Any, Any], Any]:
    """Give what takes a field's value as the thorough hooks do, and says nothing where it does not."""
    take = _quick_take(field.hint)
    if not field.option.choices and all(getattr(field.option, bound) is None for bound in BOUNDS):
        return take

    def bounded(value: Any, hint: Any) -> Any:
        taken, problems = take(value, hint), Problems()
        check_bounds(field, taken, field.key, problems)
        if problems.found:
            raise _Misfit
        return taken

    return bounded


def _quick_take(hint: Any) -> Callable[[Any, Any], Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    own = find_own_type(hint)
    if own is not None:
        return lambda value, _: own.read(value)
    if hint in (str, int, bool, type(None)):
        return _exactly(hint)
    if origin in (dict, Mapping) and arguments == (str, Any):
        return _exactly(dict)  # JSON has no other keys than texts
    if origin is Literal:
        kinds = {(type(one), one) for one in arguments}
        return lambda value, _: value if (type(value), value) in kinds else _refuse()
    if origin in (typing.Union, types.UnionType):
        return _first_of([_quick_take(one) for one in arguments])
    return lambda value, _: converter().structure(value, hint)


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def take(value: Any, _hint: Any) -> Any:
        if type(value) is kind:  # a bool is an int to isinstance
            return value
        raise _Misfit

    return take


def _first_of(takes: list[Callable[[Any, Any], Any]]) -> Callable[[Any, Any], Any]:
    def take_first(value: Any, hint: Any) -> Any:
        for take in takes:
            try:
                return take(value, hint)
            except Exception:  # noqa: BLE001 - types of plugins raise what they like
                continue
        raise _Misfit

    return take_first


def _refuse() -> Any:
    raise _Misfit
