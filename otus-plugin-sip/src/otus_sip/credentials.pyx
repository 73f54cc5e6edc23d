"""Overwrites what proves a password, so that no report lets anybody try passwords against it.

In: a message that has bytes of its own. Out: the same bytes, as long as before. Of Digest credentials (RFC 7616 §3.4,
RFC 8760) only ``response`` and ``rspauth`` go: user name, realm and nonce are what an operator looks for. Of every
other scheme all that follows its name goes: Basic is the password itself, and a bearer token is one.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t

from otus_sip.address cimport is_white
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport AUTHORIZATION, Field, otus_token, same_text

cdef enum:
    HIDDEN = 120                # x
    AUTHENTICATION_INFO = 19    # bytes of its name, the same as Proxy-Authorization's


cdef void hide_credentials(SipMessage message) noexcept:
    """Overwrite the credentials of every Authorization, Proxy-Authorization and Authentication-Info field."""
    cdef uint8_t *data = <uint8_t *>PyBytes_AS_STRING(message.raw)
    cdef Field *field
    cdef Py_ssize_t i
    for i in range(message.first[AUTHORIZATION], message.count):
        field = &message.fields[i]
        if field.id == AUTHORIZATION:
            _hide(data + field.value, field.value_len, data[field.name] | 32 == c"a"
                  and field.name_len == AUTHENTICATION_INFO)


cdef void _hide(uint8_t *value, Py_ssize_t size, bint only_parameters) noexcept nogil:
    """Authentication-Info names no scheme: it has parameters alone (RFC 7616 §3.5)."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t length
    if not only_parameters:
        while at < size and not is_white(value[at]):
            at += 1
        if at != 6 or not same_text(value, b"digest", 6):
            while at < size:
                if not is_white(value[at]):
                    value[at] = HIDDEN
                at += 1
            return
    while at + 7 < size:
        length = 8 if same_text(value + at, b"response", 8) else 7 if same_text(value + at, b"rspauth", 7) else 0
        if length and not otus_token[value[at - 1]]:
            _hide_value(value, at + length, size)
        at += 1


cdef void _hide_value(uint8_t *value, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Overwrite the value behind ``=``, up to its quote, or to a comma or blank where it has none."""
    cdef uint8_t end
    while at < size and is_white(value[at]):
        at += 1
    if at >= size or value[at] != c"=":
        return
    at += 1
    while at < size and is_white(value[at]):
        at += 1
    end = 34 if at < size and value[at] == 34 else 44
    at += end == 34
    while at < size and value[at] != end and (end == 34 or not is_white(value[at])):
        value[at] = HIDDEN
        at += 1
