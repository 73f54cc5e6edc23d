cdef tuple party_name(object owner, dict context)
cdef bint says_where_it_is(object keys, dict context) except -1
