cdef bytes plain_json(object value)
