from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    OFFERS_MAX = 4          # transactions of one call under way; more is nobody's call
    DIALOGS_MAX = 8         # forks of one call whose flows are kept
    ID_INSIDE = 64          # bytes of a Call-ID that are in the call itself, beside its hash


# A numbered bytes object that a call owns.
cdef struct Item:
    uint64_t number
    PyObject *data


cdef class Call:
    cdef uint64_t hashed
    cdef PyObject *chain        # the next call in the bucket
    cdef Py_ssize_t id_len
    cdef uint8_t id_start[ID_INSIDE]
    cdef bytes call_id
    cdef PyObject *newer        # by when they were touched
    cdef PyObject *older
    cdef int64_t touched
    cdef bytes late_offer       # made in a response; ACK or PRACK carries its answer
    cdef bint confirmed
    cdef int offer_count
    cdef int dialog_count
    cdef Item offers[OFFERS_MAX]        # by transaction: media of an offer that awaits its answer
    cdef Item dialogs[DIALOGS_MAX]      # by dialog: its flow keys, packed, one direction of each

    cdef bytes offer(self, uint64_t transaction)
    cdef void put_offer(self, uint64_t transaction, bytes media) noexcept
    cdef void drop_offer(self, uint64_t transaction) noexcept
    cdef bytes dialog(self, uint64_t number)
    cdef void put_dialog(self, uint64_t number, bytes keys) noexcept
    cdef void drop_dialog(self, uint64_t number) noexcept


cdef class Calls:
    cdef PyObject **buckets
    cdef uint64_t mask
    cdef Py_ssize_t count
    cdef PyObject *newest
    cdef PyObject *oldest

    cdef uint64_t expect(self, const uint8_t *call_id, Py_ssize_t size) noexcept
    cdef void fetch(self, uint64_t hashed) noexcept
    cdef Call find(self, uint64_t hashed, const uint8_t *call_id, Py_ssize_t size)
    cdef Call add(self, uint64_t hashed, const uint8_t *call_id, Py_ssize_t size)
    cdef Call eldest(self)
    cdef void touch(self, Call call) noexcept
    cdef void remove(self, Call call) noexcept
    cdef int _grow(self) except -1
    cdef void _link(self, Call call) noexcept
    cdef void _unlink(self, Call call) noexcept
