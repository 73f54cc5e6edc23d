cpdef dict read_party(str value)
cpdef str user_of(str uri)
