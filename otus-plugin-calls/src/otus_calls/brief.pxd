cdef bytes brief_of(bytes body)
