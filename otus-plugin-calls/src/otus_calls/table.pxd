from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from otus_core.inline.tables cimport Buckets, Links, Order

from otus_calls.note cimport Heard, Packed


# How far a call has come, as far as that decides how long it is waited for.
cdef enum Phase:
    CALLING = 0
    RINGING = 1
    TALKING = 2
    OVER = 3


cdef class Call:
    cdef char *name                         # the Call-ID, and the From tag behind it
    cdef uint16_t id_size
    cdef uint16_t tag_size
    cdef readonly int64_t first             # ns since 1970, as the calls' own messages say
    cdef readonly int64_t last
    cdef readonly int64_t due               # when it is reported if nothing more comes
    cdef readonly uint32_t cut              # messages that were given up for want of room
    cdef readonly uint32_t count            # messages that are kept
    cdef uint32_t used                      # bytes of them
    cdef uint32_t room                      # messages that there is a place for
    cdef Packed **notes                     # in the order in which they came
    cdef readonly uint8_t phase             # a Phase
    cdef public bint silent                 # answered, and nothing is heard of it any more
    cdef public int64_t told                # when an interim record told of it
    cdef public list streams                # what was said of its media streams, or None
    cdef public list errors                 # ICMP errors about it, or None
    cdef public list legs                   # other legs of the same conversation, or None
    cdef public uint64_t number             # by which the search for legs knows it, 0 for one it has not been shown
    cdef uint8_t shown                      # what the search for legs has been shown of it
    cdef bint listed                        # it stands in a table
    cdef uint64_t id_hash                   # of the Call-ID
    cdef uint64_t hash                      # of Call-ID and tag
    cdef Links age                          # in the order in which they were used
    cdef void *next                         # in the bucket of Call-ID and tag
    cdef void *namesake                     # in the bucket of the Call-ID: many calls may have one
    cdef void **named_by                    # what refers to it there

    cdef Packed *_add_note(self, Py_ssize_t size, uint32_t most) except NULL
    cdef int _give_way(self) noexcept


cdef object BEGINNING           # by which calls are put in the order of their beginning


cdef class Table:
    cdef Buckets known                      # by Call-ID and tag
    cdef Buckets named                      # by Call-ID
    cdef uint64_t secret[2]
    cdef uint64_t *gone                     # Call-IDs of calls that were reported, by their hashes
    cdef Order order
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t most
    cdef uint32_t notes_most
    cdef int64_t soonest                    # no call is due earlier
    cdef int64_t looked                     # calls that were used last before this have been looked at for news
    cdef int64_t linger, ring_timeout, talk_timeout
    cdef uint64_t id_hash, both_hash        # of the message that is expected

    cdef void expect(self, const Heard *heard) noexcept
    cdef void near(self) noexcept
    cdef int take(self, const Heard *heard) except -1
    cdef Call _find(self, uint64_t hash, const Heard *heard, const char *tag, Py_ssize_t tag_len)
    cdef Call _begin(self, const Heard *heard)
    cpdef int remove(self, Call call) except -1
    cdef int _name(self, Call call, void **bucket) noexcept
    cdef int _advance(self, Call call, const Packed *note) noexcept
