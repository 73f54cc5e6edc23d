from libc.stdint cimport int32_t, uint8_t

from otus_sip.calls cimport Call
from otus_sip.claims cimport Claims
from otus_sip.media cimport Media


cdef class MediaFlows:
    cdef object register
    cdef object remove
    cdef object ttl
    cdef Claims claims
    cdef dict codecs

    cdef int32_t announce(self, Call call, const Media *one, const Media *other, int32_t claims) except -2
    cdef str _codec(self, const Media *media)
    cdef Py_ssize_t release(self, int32_t claims) except -1
    cdef int abandon(self, int32_t claims) except -1
