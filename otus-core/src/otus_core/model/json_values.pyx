"""Plain values as JSON, in ASCII: what records and dicts of parsers hold."""

import json

import attrs

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_Next
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.mem cimport PyMem_Free
from cpython.ref cimport PyObject
from libc.math cimport fabs, isfinite, signbit
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport strlen

from otus_core.inline.json cimport write_number, write_str
from otus_core.inline.text cimport DECIMAL_MAX, print_decimal, print_padded
from otus_core.inline.writer cimport Writer, keep, raw, room, take

from otus_core.log import Logger
from otus_core.model.text import printable

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1
    char *PyOS_double_to_string(double value, char form, int precision, int flags, int *kind) except NULL
    int Py_DTSF_ADD_DOT_0
    Py_ssize_t Py_SIZE(object)

cdef enum:
    DEPTH_MAX = 64              # of values in values; deeper ones are the ordinary encoder's, which knows its stack
    TOLD_MAX = 64
    MICROS = 1_000_000
cdef double PLAIN_MAX = 1e9     # with six decimals these are fifteen digits, which a double tells apart

cdef Writer _writer

log = Logger("otus.json")
cdef set _told = set()


def to_json(value):
    """Give dicts, lists, texts and numbers as JSON without blanks; attrs objects become dicts, bytes text, sets lists,
    and whatever else it may be the text that ``str`` gives.

    Null takes the place of NaN and the infinities, which JSON does not have. Raises TypeError for a dict whose keys
    JSON cannot hold, ValueError for a value that holds itself.
    """
    return plain_json(value)


cdef bytes plain_json(object value):
    cdef Writer out
    take(&_writer, &out)
    try:
        if _write(&out, value, DEPTH_MAX):
            return PyBytes_FromStringAndSize(out.start, out.at - out.start)
    finally:
        keep(&_writer, &out)
    return _encode(value)


cdef bint _write(Writer *out, object value, int deeper) except -1:
    """Write a value. False where there is something in it that is the ordinary encoder's; what was written is void."""
    cdef object kind = type(value)
    if kind is str:
        write_str(out, <str>value)
    elif value is None:
        raw(out, b"null", 4)
    elif kind is int:
        return _write_int(out, value)
    elif kind is dict:
        return deeper > 0 and _write_dict(out, <dict>value, deeper - 1)
    elif kind is list or kind is tuple:
        return deeper > 0 and _write_list(out, value, deeper - 1)
    elif kind is bool:
        raw(out, b"true", 4) if value else raw(out, b"false", 5)
    elif kind is float:
        return _write_float(out, PyFloat_AS_DOUBLE(value))
    else:
        return False
    return True


cdef bint _write_dict(Writer *out, dict values, int deeper) except -1:
    cdef PyObject *key
    cdef PyObject *value
    cdef Py_ssize_t position = 0
    cdef char before = c"{"
    if not values:
        raw(out, b"{}", 2)
        return True
    while PyDict_Next(values, &position, &key, &value):     # nothing of Python runs meanwhile
        if type(<object>key) is not str:
            return False
        raw(out, &before, 1)
        before = c","
        write_str(out, <str>key)
        raw(out, b":", 1)
        if not _write(out, <object>value, deeper):
            return False
    raw(out, b"}", 1)
    return True


cdef bint _write_list(Writer *out, object values, int deeper) except -1:
    """Write a list or a tuple."""
    cdef char before = c"["
    cdef Py_ssize_t i
    if not values:
        raw(out, b"[]", 2)
        return True
    for i in range(Py_SIZE(values)):
        raw(out, &before, 1)
        before = c","
        if not _write(out, (<list>values)[i] if type(values) is list else (<tuple>values)[i], deeper):
            return False
    raw(out, b"]", 1)
    return True


cdef bint _write_int(Writer *out, object value) except -1:
    cdef int beyond = 0
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &beyond)
    if beyond:
        return False
    write_number(out, number)
    return True


cdef bint _write_float(Writer *out, double value) except -1:
    """Write a number with the digits that Python shows: as few as tell it apart from all others."""
    cdef int64_t micros
    cdef char *text
    cdef char *at
    if not isfinite(value):
        return False
    if fabs(value) < PLAIN_MAX:
        micros = <int64_t>(value * MICROS + (0.5 if value > 0 else -0.5))
        # Most are: seconds to the microsecond, shares to a hundredth.
        if <double>micros / MICROS == value and (micros or not signbit(value)):
            at = room(out, DECIMAL_MAX + 9)
            if micros < 0:
                at[0] = c"-"
                at += 1
                micros = -micros
            at = print_decimal(at, <uint64_t>(micros // MICROS))
            at[0] = c"."
            at = print_padded(at + 1, <uint64_t>(micros % MICROS), 6)
            while (at - 1)[0] == c"0" and (at - 2)[0] != c".":
                at -= 1
            out.at = at
            return True
    text = PyOS_double_to_string(value, c"r", 0, Py_DTSF_ADD_DOT_0, NULL)
    try:
        raw(out, text, strlen(text))
    finally:
        PyMem_Free(text)
    return True


def _plain_value(value):
    """Turn what the ordinary encoder does not know into what it does."""
    if attrs.has(type(value)):
        return attrs.asdict(value, recurse=False)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


cdef bytes _encode(object value):
    """Have the ordinary encoder write a value."""
    try:
        return json.dumps(value, default=_plain_value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except ValueError:  # RFC 8259 §6 has no NaN and no infinity: null takes their place
        plain = json.loads(json.dumps(value, default=_plain_value), parse_constant=lambda _name: None)
        _tell_once(type(value).__qualname__)
        return json.dumps(plain, separators=(",", ":")).encode("ascii")


cdef int _tell_once(str name) except -1:
    """Log that payloads of a class hold numbers that JSON does not have."""
    if name in _told or len(_told) >= TOLD_MAX:
        return 0
    _told.add(name)
    log.warning("payload_has_no_json_number", payload=printable(name, 60), told="null takes the place of NaN")
    return 0
