from libc.stdint cimport uint8_t


cdef class Media:
    cdef readonly str media             # audio, video …
    cdef readonly object port           # None where the line cannot be read
    cdef readonly str protocol
    cdef readonly list formats
    cdef readonly object address        # text of its c= line, or the session's
    cdef readonly int rtcp_port         # of a=rtcp, 0 where there is none
    cdef readonly object rtcp_address
    cdef readonly bint rtcp_mux
    cdef readonly list rtpmap           # ["0 PCMU/8000", …]
    cdef readonly str direction


cdef class Sdp:
    cdef readonly object origin
    cdef readonly object name
    cdef readonly object address
    cdef readonly str direction
    cdef readonly list media


cdef Sdp read_sdp(bytes body)
