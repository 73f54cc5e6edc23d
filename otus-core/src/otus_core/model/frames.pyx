"""Frames as a capturer gives them: one buffer plus an index, so that nothing is allocated for a frame until it is
wanted.
"""

import struct

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t

from otus_core.inline.layouts cimport FrameRecord
from otus_core.model.metadata cimport FrameMetadata

FRAME_INDEX_FORMAT = "=qQIIiHH"
"""``struct`` format of one index record: timestamp (ns), offset in the buffer, capture_len, orig_len, interface_index,
link_type, and which of the batch's metadata are the frame's, counted from 1 (0 for none).
"""
INDEX_SIZE = struct.calcsize(FRAME_INDEX_FORMAT)

assert INDEX_SIZE == sizeof(FrameRecord) == 32


cdef enum:
    SETS_MAX = 65535        # metadata of one batch; a record names them with 16 bits


cdef FrameMetadata _metadata(object given):
    return <FrameMetadata>given if type(given) is FrameMetadata else FrameMetadata(given)


@cython.final
@cython.freelist(16)
cdef class RawPacket:
    """One frame as captured: ``data`` (bytes), ``timestamp`` (ns since 1970), ``capture_len``, ``orig_len``,
    ``interface_index``, ``link_type``, and ``metadata``, a ``FrameMetadata``, a mapping of which one is made, or
    ``None``.
    """

    cdef readonly bytes data
    cdef readonly object timestamp
    cdef readonly object orig_len
    cdef readonly object interface_index
    cdef readonly object link_type
    cdef readonly FrameMetadata metadata

    def __init__(self, bytes data not None, timestamp, orig_len=None, interface_index=0, link_type=1, metadata=None):
        self.data = data
        self.timestamp = timestamp
        self.orig_len = len(data) if orig_len is None else orig_len
        self.interface_index = interface_index
        self.link_type = link_type
        self.metadata = None if metadata is None else _metadata(metadata)

    @property
    def capture_len(self):
        return len(self.data)

    def __repr__(self):
        size = f"{len(self.data)} of {self.orig_len} bytes"
        return f"RawPacket({self.timestamp}, {size}, interface {self.interface_index})"


@cython.final
cdef class FrameBatch:
    """Frames in one buffer, with an index of ``FRAME_INDEX_FORMAT`` records.

    Every record is checked to lie inside the buffer.

    ``data`` and ``index`` are bytes-like; only the first ``count`` records count. The capturer may reuse both at its
    next ``read()``. ``metadata`` are ``FrameMetadata``, or mappings of which such are made, 65,535 at most: a record
    names one by its place, counted from 1.
    """

    def __cinit__(self):
        self._open = False

    def __init__(self, data, index, count=None, metadata=()):
        cdef Py_ssize_t available
        cdef Py_ssize_t sets
        cdef Py_ssize_t i
        cdef const FrameRecord *record
        PyObject_GetBuffer(data, &self._data, PyBUF_SIMPLE)
        try:
            PyObject_GetBuffer(index, &self._index, PyBUF_SIMPLE)
        except BaseException:
            PyBuffer_Release(&self._data)
            raise
        self._open = True
        available = self._index.len // <Py_ssize_t>sizeof(FrameRecord)
        self.count = available if count is None else count
        if not 0 <= self.count <= available:
            raise ValueError(f"count {count} does not fit an index of {available} records")
        self.data = <const uint8_t *>self._data.buf
        self.size = self._data.len
        self.records = <const FrameRecord *>self._index.buf
        self.metadata = tuple([_metadata(one) for one in metadata]) if metadata else ()
        sets = len(self.metadata)
        if sets > SETS_MAX:
            raise ValueError(f"a batch has at most {SETS_MAX} metadata, not {sets}")
        for i in range(self.count):
            record = &self.records[i]
            if record.offset > <uint64_t>self.size or record.capture_len > <uint64_t>self.size - record.offset:
                raise ValueError(f"frame {i} lies outside the buffer")
            if record.metadata > sets:
                raise ValueError(f"frame {i} names metadata {record.metadata}, and the batch has {sets}")

    def __dealloc__(self):
        if self._open:
            PyBuffer_Release(&self._data)
            PyBuffer_Release(&self._index)

    @staticmethod
    def from_frames(frames, link_type=1, interface_index=0):
        """Make a batch of ``RawPacket``s, or of ``(timestamp_ns, data)`` pairs. Raises TypeError for anything else."""
        cdef list parts = []
        cdef bytearray index = bytearray()
        cdef Py_ssize_t offset = 0
        cdef dict places = {}
        for frame in frames:
            if not isinstance(frame, RawPacket):
                is_pair = isinstance(frame, (tuple, list)) and len(frame) == 2
                if not is_pair or not isinstance(frame[1], (bytes, bytearray, memoryview)):
                    raise TypeError(
                        f"a frame is a RawPacket or a pair (timestamp_ns, data), not {type(frame).__name__}")
                frame = RawPacket(bytes(frame[1]), frame[0], None, interface_index, link_type)
            place = 0
            if frame.metadata is not None:
                fields = frozenset(frame.metadata.fields.items())
                place = places.setdefault(fields, (len(places) + 1, frame.metadata))[0]
            parts.append(frame.data)
            index += struct.pack(FRAME_INDEX_FORMAT, frame.timestamp, offset, len(frame.data), frame.orig_len,
                                 frame.interface_index, frame.link_type, place)
            offset += len(frame.data)
        return FrameBatch(b"".join(parts), bytes(index), None, [metadata for _, metadata in places.values()])

    def __len__(self):
        return self.count

    def __iter__(self):
        for i in range(self.count):
            yield self[i]

    def __getitem__(self, Py_ssize_t i):
        if not 0 <= i < self.count:
            raise IndexError(i)
        cdef const FrameRecord *record = &self.records[i]
        return RawPacket(
            PyBytes_FromStringAndSize(<const char *>self.data + record.offset, record.capture_len),
            record.timestamp, record.orig_len, record.interface_index, record.link_type,
            self.metadata[<Py_ssize_t>record.metadata - 1] if record.metadata else None,
        )


EMPTY = FrameBatch(b"", b"")
