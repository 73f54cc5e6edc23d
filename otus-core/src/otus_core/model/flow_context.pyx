"""What may be registered with a flow or an endpoint: small plain data, which any worker can be sent."""

from cpython.dict cimport PyDict_Next
from cpython.ref cimport PyObject

from otus_core.errors import FlowContextRefused

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object)
    bint PyUnicode_CheckExact(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1

CONTEXT_MAX_BYTES = 4096
"""A context crosses to every sibling worker, so it stays small."""

cdef enum:
    CONTEXT_DEPTH_MAX = 4


cdef inline int _size_of_text(object value) noexcept:
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(value)
    return <int>min(length if PyUnicode_IS_ASCII(value) else 4 * length, CONTEXT_MAX + 1)


cdef int _size_of_int(object value) except -1:
    """Give the bytes of a number and its sign."""
    cdef int overflow
    cdef int size = 1
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        return <int>min((value.bit_length() >> 3) + 1, CONTEXT_MAX + 1)
    if number < 0:
        number = -(number + 1)
    while number >= 128:
        number >>= 8
        size += 1
    return size


cdef int _measure(object value, int depth, Py_ssize_t *items) except -1:
    """Give the size of a context in bytes, or raise FlowContextRefused."""
    cdef int total = 0
    cdef Py_ssize_t at = 0
    cdef PyObject *key
    cdef PyObject *item
    kind = type(value)
    items[0] += 1
    if kind is str:
        return _size_of_text(value)
    if kind is bytes:
        return <int>min(len(<bytes>value), CONTEXT_MAX + 1)
    if kind is bool:
        return 1
    if kind is int:
        return _size_of_int(value)
    if kind is float:
        return 8
    if depth >= CONTEXT_DEPTH_MAX:
        raise FlowContextRefused(f"a flow context nests at most {CONTEXT_DEPTH_MAX} deep")
    if kind is tuple:
        for inner in <tuple>value:
            total += _measure(inner, depth + 1, items)
            if total > CONTEXT_MAX:
                break
        return total
    if kind is dict:
        while PyDict_Next(value, &at, &key, &item):
            if PyUnicode_CheckExact(<object>key):       # as nearly all are
                items[0] += 1
                total += _size_of_text(<object>key)
            else:
                total += _measure(<object>key, depth + 1, items)
            total += _measure(<object>item, depth + 1, items)
            if total > CONTEXT_MAX:
                break
        return total
    raise FlowContextRefused(
        f"a flow context holds str, int, float, bytes, bool, tuples and dicts of these, not {kind.__name__}")


cdef Py_ssize_t measure(object context) except -1:
    """Give the bytes of memory that a context takes, about. Raises FlowContextRefused for one that is too large or
    holds something else than plain data.
    """
    cdef Py_ssize_t items = 0
    cdef int size = _measure(context, 0, &items)
    if size > CONTEXT_MAX:
        raise FlowContextRefused(f"a flow context is at most {CONTEXT_MAX_BYTES} bytes")
    return size + ITEM_WEIGHT * items
