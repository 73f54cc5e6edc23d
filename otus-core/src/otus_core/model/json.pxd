from otus_core.inline.writer cimport Writer
from otus_core.model.output cimport OutputPacket


cdef int write_object(Writer *out, OutputPacket output, bytes packed, bint rfc3339, dict schemas) except -1
