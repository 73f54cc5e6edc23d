"""Who takes part in a call: addresses in header fields, users in URIs."""

from __future__ import annotations

import re
from typing import Any

_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*', re.DOTALL)
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_DIGITS = re.compile(r"\D+")
NIL = "0" * 32
"""RFC 7989 §5: no session identifier yet."""
TAIL = 7
"""Digits at the end of a telephone number that tell it apart: prefixes differ from one network to the next."""


def read_party(value: str | None) -> dict[str, Any] | None:
    """Read a From, To, P-Asserted-Identity or the like: ``uri``, ``user`` and ``display``, ``None`` where there is no
    such part.
    """
    if not value:
        return None
    display, rest = "", value
    quoted = _QUOTED.match(value)
    if quoted:
        display, rest = _PAIR.sub(r"\1", quoted[1]), value[quoted.end() :]
    elif "<" in value:
        display, _, rest = value.partition("<")
        display, rest = display.strip(), "<" + rest
    uri = rest.partition("<")[2].partition(">")[0] if "<" in rest else rest.partition(";")[0]
    uri = uri.strip()
    return {"uri": uri or None, "user": user_of(uri), "display": display or None}


def user_of(uri: str | None) -> str | None:
    """Give the user of ``sip:user:password@host;…``, the number of ``tel:+1-201-555-0123``."""
    if not uri:
        return None
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "tel":
        return rest.partition(";")[0] or None
    user, at, _ = rest.rpartition("@")
    return user.partition(":")[0].partition(";")[0] or None if at else None


def user_key(user: str | None) -> str:
    """Give what two users that are one have in common: of a telephone number the last digits, else all of it."""
    if not user:
        return ""
    digits = _DIGITS.sub("", user)
    return digits[-TAIL:] if len(digits) >= TAIL else user


def same_user(one: str | None, other: str | None) -> bool:
    """Whether two users are one: equal, or telephone numbers with the same last digits."""
    return bool(one and other) and user_key(one) == user_key(other)


def sessions_of(fields: dict[str, str]) -> set[str]:
    """Give the session identifiers of RFC 7989 among header fields."""
    parts = fields.get("session-id", "").lower().replace("remote=", "").split(";")
    return {part.strip() for part in parts if len(part.strip()) == len(NIL)} - {NIL}
