cpdef int check_json(bytes text) except -1
