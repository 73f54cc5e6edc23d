"""Types of configuration fields beyond those that YAML has: registered by whoever wants them, plugins too.

IP addresses and networks, paths and enumerations need no registration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from otus_core.values import frozen

T = TypeVar("T")

TAKEN: tuple[type, ...] = (bool, int, float, str, bytes, list, tuple, dict, frozenset, set, type(None), object)
"""What has its meaning already."""


@frozen(kw_only=True, eq=False)
class OwnType:
    """How values of a type are read and written; ``takes`` says in a few words what a user gives."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    takes: str
    schema: Mapping[str, Any]


_registered: dict[type, OwnType] = {}
_IP = {
    "IPv4Address": "an IPv4 address such as 192.0.2.1",
    "IPv6Address": "an IPv6 address such as 2001:db8::1",
    "IPv4Network": "an IPv4 network such as 192.0.2.0/24",
    "IPv6Network": "an IPv6 network such as 2001:db8::/32",
}
_TEXT = {"type": "string"}


def register_type(
    cls: type[T],
    *,
    read: Callable[[Any], T],
    takes: str,
    write: Callable[[T], Any] = str,
    schema: Mapping[str, Any] = _TEXT,
) -> None:
    """Let fields of configuration classes have this type.

    ``read`` makes a value of what YAML or JSON gave and raises ValueError, whose text the user is shown, for what it
    cannot take. ``write`` gives plain data of which ``read`` makes the same again. ``takes`` completes the sentence
    "expected …": ``"a telephone number such as +15550100"``. ``schema`` is what JSON Schema says of the plain data.

    Call it where the type is defined. Raises ValueError for a type that is registered already, by another module too.
    """
    # Of two modules that register one type differently, the order of imports would decide which holds.
    if cls in TAKEN or attrs.has(cls) or find_own_type(cls) is not None:
        raise ValueError(f"{cls.__module__}.{cls.__qualname__} can be configured already")
    _registered[cls] = OwnType(read=read, write=write, takes=takes, schema=dict(schema))


def find_own_type(hint: Any) -> OwnType | None:
    """Give how values of a type are read and written, ``None`` where the type is none of these."""
    if not isinstance(hint, type):
        return None
    if hint.__module__ == "ipaddress" and hint.__name__ in _IP:  # by name: importing it would cost every start
        return OwnType(read=_text_into(hint), write=str, takes=_IP[hint.__name__], schema=_TEXT)
    if hint is Path:
        return OwnType(read=_text_into(Path), write=str, takes="the path of a file or folder", schema=_TEXT)
    return _registered.get(hint)


def _text_into(cls: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, str):  # ipaddress would take the integer 1 for 0.0.0.1
            raise ValueError
        return cls(value)

    return read
