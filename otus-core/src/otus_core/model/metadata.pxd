cdef class FrameMetadata:
    cdef readonly object fields     # a mapping that cannot be changed
    cdef dict labels
    cdef bytes packed


cdef object add_captured_labels(object labels, FrameMetadata metadata)
