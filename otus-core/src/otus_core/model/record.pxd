from libc.stdint cimport int64_t

from otus_core.model.output cimport OutputPacket
from otus_core.model.packet cimport Layers


cdef class Record:
    cdef Layers at
    cdef readonly object payload_type
    cdef readonly object payload
    cdef object named           # a dict of labels, or a LabelSource
    cdef readonly object key
    cdef readonly int64_t size

    cdef int _place_ends(self, object src_ip, object dst_ip) except -1
    cdef int _place_flow(self, object flow) except -1


cdef OutputPacket make_record_output(Record record, object task_id, object agent_id, object pipeline_id)
