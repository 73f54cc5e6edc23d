cdef enum:
    CONTEXT_MAX = 4096
    ITEM_WEIGHT = 56        # of a str, int or tuple beside its text, about


cdef Py_ssize_t measure(object context) except -1
