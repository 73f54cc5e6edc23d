"""Who takes part in a call: addresses in header fields, users in URIs."""

import re

cdef object _QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*', re.DOTALL)
cdef object _PAIR = re.compile(r"\\(.)", re.DOTALL)
cdef object _DIGITS = re.compile(r"\D+")
cdef str _NIL = "0" * 32     # RFC 7989 §5: no session identifier yet
TAIL = 7
"""Digits at the end of a telephone number that tell it apart: prefixes differ from one network to the next."""


cpdef dict read_party(str value):
    """Read a From, To, P-Asserted-Identity or the like: ``uri``, ``user`` and ``display``, ``None`` where there is no
    such part.
    """
    cdef str display = ""
    cdef str uri
    cdef Py_ssize_t begin
    cdef Py_ssize_t end
    cdef Py_ssize_t after = 0       # the display name
    if not value:
        return None
    if value.find('"') >= 0:
        display, after = _quoted(value)
    begin = value.find("<", after)
    if begin >= 0:
        if not after:
            display = _stripped(value, 0, begin)
        end = value.find(">", begin)
        begin += 1
    else:
        begin = after
        end = value.find(";", begin)
    uri = _stripped(value, begin, len(value) if end < 0 else end)
    return {"uri": uri or None, "user": user_of(uri), "display": display or None}


cdef tuple _quoted(str value):
    """Give the display name in quotes that a field begins with, and where it ends; ``("", 0)`` for another field."""
    cdef Py_ssize_t end
    if value[0] == '"' and value.find("\\") < 0:
        end = value.find('"', 1)
        return (value[1:end], end + 1) if end > 0 else ("", 0)
    found = _QUOTED.match(value)
    return ("", 0) if found is None else (_PAIR.sub(r"\1", found[1]), found.end())


cdef str _stripped(str text, Py_ssize_t begin, Py_ssize_t end):
    """Give a part of a text without the blanks around it."""
    while begin < end and text[begin].isspace():
        begin += 1
    while end > begin and text[end - 1].isspace():
        end -= 1
    return text[begin:end]


cpdef str user_of(str uri):
    """Give the user of ``sip:user:password@host;…``, the number of ``tel:+1-201-555-0123``."""
    cdef Py_ssize_t colon
    cdef Py_ssize_t at
    cdef Py_ssize_t end
    if not uri:
        return None
    colon = uri.find(":")
    if colon == 3 and uri[:3].lower() == "tel":
        end = uri.find(";", 4)
        return uri[4 : len(uri) if end < 0 else end] or None
    at = uri.rfind("@")
    if colon < 0 or at < colon:
        return None
    end = uri.find(":", colon + 1, at)
    if end < 0:
        end = at
    at = uri.find(";", colon + 1, end)
    return uri[colon + 1 : end if at < 0 else at] or None


def user_key(user):
    """Give what two users that are one have in common: of a telephone number the last digits, else all of it."""
    if not user:
        return ""
    digits = _DIGITS.sub("", user)
    return digits[-TAIL:] if len(digits) >= TAIL else user


def same_user(one, other):
    """Whether two users are one: equal, or telephone numbers with the same last digits."""
    return bool(one and other) and user_key(one) == user_key(other)


def sessions_of(fields):
    """Give the session identifiers of RFC 7989 among header fields."""
    parts = fields.get("session-id", "").lower().replace("remote=", "").split(";")
    return {part.strip() for part in parts if len(part.strip()) == len(_NIL)} - {_NIL}
