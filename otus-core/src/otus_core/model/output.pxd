from libc.stdint cimport int64_t

from otus_core.model.packet cimport DecodedPacket, Layers


cdef class Parsed:
    cdef public object payload
    cdef object named           # a dict of labels, or a LabelSource
    cdef public object raw
    cdef public object payload_type


cdef class OutputPacket:
    cdef Layers at
    cdef readonly object task_id
    cdef readonly object agent_id
    cdef readonly object pipeline_id
    cdef object named           # a dict of labels, or a LabelSource
    cdef readonly object payload_type
    cdef readonly object payload
    cdef readonly bytes raw_payload
    cdef readonly object key    # of a record, or None
    cdef readonly bint is_record
    cdef bint replaceable       # while a processor that rewrites has it
    cdef int64_t extra          # bytes that the payload of a record takes beside what every output takes


cdef int check_texts(dict labels) except -1
cdef dict make_labels(object source)
cdef OutputPacket make_output(DecodedPacket packet, object task_id, object agent_id, object pipeline_id,
                              object labels, object payload_type, object payload, bytes raw_payload)
