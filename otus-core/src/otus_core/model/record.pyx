"""What a component tells that no single packet gave: a call that has ended, the quality of a stream."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcpy, memset

from otus_core.inline.layouts cimport Flow
from otus_core.model.flow_key cimport FlowKey, packed_address
from otus_core.model.output cimport OutputPacket, check_texts, make_labels

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1

cdef enum:
    PORT_MAX = 65535
    PROTOCOL_MAX = 255
cdef int64_t SIZE_MAX = 1 << 30
cdef object _a_source = None        # the type that the newest record's labels are made by: seldom another one follows


@cython.final
cdef class Record:
    """One record, for ``context.emit`` or for the iterator that ``tick`` and ``finish`` may return.

    ``payload_type`` is one that the component declares; ``timestamp`` is a packet time in ns since 1970. ``labels`` is
    a dict of texts, or a ``LabelSource`` that makes them when they are asked for. ``key`` tells related records apart,
    as the call label does for messages: Kafka partitions by it.
    Addresses are given both, as text, packed bytes or ``ipaddress`` objects of one IP version, or not at all;
    ``protocol`` is the IANA number. A ``flow``, such as ``packet.flow`` or what its ``packed()`` gives, stands for
    addresses, ports and protocol.
    ``size`` tells about how many bytes the payload takes, where that is more than a kilobyte, so that send buffers
    keep their bounds.
    """

    def __init__(self, payload_type, payload, timestamp, *, labels=None, key=None, src_ip=None, dst_ip=None,
                 src_port=0, dst_port=0, protocol=0, size=0, flow=None):
        if type(payload_type) is not str:
            raise TypeError(f"payload_type is {type(payload_type).__name__}, not text")
        if type(timestamp) is not int:
            raise TypeError(f"timestamp is {type(timestamp).__name__}, not an int of ns since 1970")
        if key is not None and type(key) is not str:
            raise TypeError(f"key is {type(key).__name__}, not text")
        memset(&self.at, 0, sizeof(Layers))
        self.at.timestamp = timestamp  # OverflowError for what does not fit 64 bits
        self.payload_type = payload_type
        self.payload = payload
        self.named = _texts(labels)
        self.key = key
        if flow is not None:
            if src_ip is not None or dst_ip is not None or src_port or dst_port or protocol:
                raise ValueError("give a flow, or addresses, ports and protocol, but not both")
            self._place_flow(flow)
        else:
            self._place_ends(src_ip, dst_ip)
            self.at.src_port = _number("src_port", src_port, PORT_MAX)
            self.at.dst_port = _number("dst_port", dst_port, PORT_MAX)
            self.at.protocol = _number("protocol", protocol, PROTOCOL_MAX)
        self.size = _number("size", size, SIZE_MAX)

    cdef int _place_ends(self, object src_ip, object dst_ip) except -1:
        cdef bytes src
        cdef bytes dst
        if src_ip is None and dst_ip is None:
            return 0
        if src_ip is None or dst_ip is None:
            raise ValueError("give both src_ip and dst_ip, or neither")
        src = packed_address(src_ip)
        dst = packed_address(dst_ip)
        if PyBytes_GET_SIZE(src) != PyBytes_GET_SIZE(dst):
            raise ValueError("src_ip and dst_ip are not of one IP version")
        self.at.ip_version = 4 if PyBytes_GET_SIZE(src) == 4 else 6
        memcpy(self.at.src, PyBytes_AS_STRING(src), PyBytes_GET_SIZE(src))
        memcpy(self.at.dst, PyBytes_AS_STRING(dst), PyBytes_GET_SIZE(dst))
        return 0

    cdef int _place_flow(self, object flow) except -1:
        """Take addresses, ports and protocol of a flow; without addresses it has none."""
        cdef Flow ends
        if type(flow) is bytes:
            if PyBytes_GET_SIZE(flow) != sizeof(Flow):
                raise ValueError(f"a packed flow is {sizeof(Flow)} bytes")
            memcpy(&ends, PyBytes_AS_STRING(flow), sizeof(Flow))
            if ends.version != 4 and ends.version != 6 and ends.version != 0:
                raise ValueError(f"a packed flow has the IP version {ends.version}")
        elif isinstance(flow, FlowKey):
            ends = (<FlowKey>flow).at
        else:
            raise TypeError(f"flow is {type(flow).__name__}, not a FlowKey or a packed one")
        self.at.ip_version = ends.version
        if ends.version:
            memcpy(self.at.src, ends.src, 4 if ends.version == 4 else 16)
            memcpy(self.at.dst, ends.dst, 4 if ends.version == 4 else 16)
        self.at.src_port, self.at.dst_port, self.at.protocol = ends.src_port, ends.dst_port, ends.protocol
        return 0

    @property
    def timestamp(self):
        return self.at.timestamp

    @property
    def labels(self):
        if type(self.named) is not dict:
            self.named = make_labels(self.named)
        return self.named

    def __repr__(self):
        return f"Record({self.payload_type!r}, {self.payload!r}, {self.at.timestamp}, key={self.key!r})"


cdef object _texts(object labels):
    """Give the labels as a dict of the record's own, or their source. Raises TypeError for anything else."""
    global _a_source
    if labels is None:
        return {}
    if type(labels) is _a_source:
        return labels
    if not isinstance(labels, dict):
        if hasattr(labels, "label") and hasattr(labels, "labels"):
            _a_source = type(labels)
            return labels
        raise TypeError(f"labels is {type(labels).__name__}, not a dict")
    own = dict(labels)
    check_texts(own)
    return own


cdef int64_t _number(str name, object value, int64_t most) except -1:
    cdef int beyond = 0
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &beyond) if type(value) is int else -1
    if beyond or not 0 <= number <= most:
        raise ValueError(f"{name} is {value!r}: give a number from 0 to {most}")
    return number


cdef OutputPacket make_record_output(Record record, object task_id, object agent_id, object pipeline_id):
    """Make the output that carries a record to processors and reporters."""
    cdef OutputPacket output = OutputPacket.__new__(OutputPacket)
    output.at = record.at
    output.task_id = task_id
    output.agent_id = agent_id
    output.pipeline_id = pipeline_id
    output.named = record.named
    output.payload_type = record.payload_type
    output.payload = record.payload
    output.raw_payload = b""
    output.key = record.key
    output.is_record = True
    output.extra = record.size
    return output
