"""Drives ``Decoder.decode`` over prepared frames without anything else, for decode_bench.py."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t

from otus_core.decode.decoder cimport Decoder
from otus_core.model.packet cimport Layers


def run(Decoder decoder not None, list frames not None, int rounds, int link_type=1):
    """Decode all frames, in order, ``rounds`` times; give the number of units."""
    cdef Layers at
    cdef int64_t units = 0
    cdef Py_ssize_t i
    cdef bytes frame
    for _ in range(rounds):
        for i in range(len(frames)):
            frame = <bytes>frames[i]
            at.timestamp = 0
            at.capture_len = at.orig_len = <unsigned int>len(frame)
            at.interface_index = 0
            at.link_type = link_type
            units += decoder.decode(<const uint8_t *>PyBytes_AS_STRING(frame), &at)
    return units
