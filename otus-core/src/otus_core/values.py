"""Classes of attrs that take a third of the time to make: their comparison and their ``repr()`` are the same few
functions for all, not code that attrs generates and compiles for each class.

A command makes some sixty classes before it does anything. Such a class is one of attrs in all else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    # Checkers of types know attrs by these names.
    from attrs import define, frozen

    __all__ = ["define", "frozen"]
else:

    def frozen(cls: type | None = None, *, kw_only: bool = False, eq: bool = True) -> Any:
        """``attrs.frozen``. With ``eq`` objects are equal, and have the same hash, if all their fields are equal."""
        return _made(cls, partial(attrs.frozen, kw_only=kw_only), eq, _hashed)

    def define(cls: type | None = None, *, kw_only: bool = False, eq: bool = True) -> Any:
        """``attrs.define``. With ``eq`` objects are equal if all their fields are; they have no hash."""
        return _made(cls, partial(attrs.define, kw_only=kw_only), eq, None)


def _made(cls: type | None, by_attrs: Callable[..., type], eq: bool, hashed: Callable[[Any], int] | None) -> Any:
    def made(cls: type) -> type:
        shared = {"__repr__": _shown, **({"__eq__": _equal, "__hash__": hashed} if eq else {})}
        for name, method in shared.items():
            if name not in vars(cls):
                setattr(cls, name, method)
        return by_attrs(cls, repr=False, eq=False)

    return made if cls is None else made(cls)


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, a.name) for a in self.__attrs_attrs__ if a.eq])


def _equal(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if other.__class__ is self.__class__ else NotImplemented


def _hashed(self: Any) -> int:
    return hash(_compared(self))


def _shown(self: Any) -> str:
    fields = ", ".join([f"{a.name}={getattr(self, a.name)!r}" for a in self.__attrs_attrs__ if a.repr])
    return f"{self.__class__.__qualname__}({fields})"
