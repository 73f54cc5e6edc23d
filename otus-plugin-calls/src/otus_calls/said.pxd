from libc.stdint cimport int64_t

from otus_core.inline.signalling cimport FieldHead


# What the header fields of a message say that matters here: pieces of them, NULL for what is not there.
cdef struct Said:
    const char *to
    const char *contact
    const char *expires
    const char *agent
    Py_ssize_t to_len, contact_len, expires_len, agent_len
    const char *fields          # all of them
    const char *end
    FieldHead head
    bint more                   # there are further fields with contacts
    bint proof                  # it has credentials
    bint stale                  # its challenge says that the nonce was merely stale


cdef void read_said(const char *at, Py_ssize_t size, Said *what) noexcept
cdef bytes said_aor(Said *what)
cdef tuple first_contact(Said *what)
cdef int64_t granted_to(bytes contact, Said *what) except -2
cdef int64_t said_seconds(const char *text, Py_ssize_t size) except -2
