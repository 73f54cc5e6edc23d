cpdef list read_sdp(bytes body)
cdef bint is_held(list lines) except -1
cdef bint is_fax(list lines) except -1
cpdef set endpoints(list lines)
