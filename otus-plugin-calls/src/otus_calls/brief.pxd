cdef enum:
    BRIEF_MAX = 4096            # bytes of a session description that are read
    BRIEF_ROOM = BRIEF_MAX + 1  # the last line may lack its end


cdef Py_ssize_t make_brief(const char *at, Py_ssize_t size, char *kept) noexcept
