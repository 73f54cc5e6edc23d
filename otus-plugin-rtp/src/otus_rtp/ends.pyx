"""Whether a party is where its session description says: true of most, and asked of each description.

In: what was announced. Out: yes only where nothing has to be remembered; ``nat`` looks at all others more closely.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcmp

from otus_core import FlowKey

from otus_core.inline.layouts cimport Flow
from otus_core.inline.text cimport ADDRESS_MAX, print_address

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object, Py_ssize_t *) except NULL

# Called where it is, instead of being looked up by name for each key.
cdef object _FlowKey = FlowKey
cdef object _packed = FlowKey.packed


cdef tuple party_name(object owner, dict context):
    """Give the name of one media line of a party, under which ``nat`` knows it."""
    return owner, context.get("tag"), context.get("line")


cdef bint says_where_it_is(object keys, dict context) except -1:
    """Whether one of the endpoints that were announced has the address that the description came from."""
    cdef object said = context.get("signalling")
    cdef char[ADDRESS_MAX] address
    cdef const char *source
    cdef Py_ssize_t size
    cdef bytes packed
    cdef const Flow *at
    if type(said) is not tuple or len(<tuple>said) != 4 or type((<tuple>said)[0]) is not str or type(keys) is not tuple:
        return False
    if not (<str>(<tuple>said)[0]).isascii():
        return False
    source = PyUnicode_AsUTF8AndSize((<tuple>said)[0], &size)
    for key in <tuple>keys:
        if type(key) is not _FlowKey:
            return False
        packed = <bytes?>_packed(key)
        at = <const Flow *>PyBytes_AS_STRING(packed)
        if print_address(address, at.dst, at.version) - address == size and memcmp(address, source, size) == 0:
            return True
    return False
