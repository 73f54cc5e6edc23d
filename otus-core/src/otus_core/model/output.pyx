"""What a parser returns, and what goes to processors and reporters."""

from ipaddress import ip_address
from types import MethodDescriptorType

cimport cython
from cpython.dict cimport PyDict_GetItem, PyDict_Next
from cpython.ref cimport PyObject
from libc.string cimport memcpy, memset

from otus_core.model.packet import TUNNEL_NAMES

from otus_core.model.flow_key cimport make_flow_key
from otus_core.model.metadata cimport add_captured_labels
from otus_core.model.packet cimport _vlans, ip_object


cdef object _METHOD = MethodDescriptorType
_KEPT = object()  # what replace() was not given

# The class of the last source of labels: parsers give one class again and again.
cdef object _known_source = dict


# The class whose label() was called last, where that is a method of compiled code: calling it without looking it up
# takes half as long.
cdef object _answering = dict
cdef object _answer = None


cdef object _ask(object source, str name):
    """Call a source's label()."""
    global _answering, _answer
    method = getattr(type(source), "label", None)
    if type(method) is _METHOD and not hasattr(source, "__dict__"):
        _answering, _answer = type(source), method
    text = source.label(name)
    if text is not None and type(text) is not str:
        raise TypeError(f"{_class_of(source)}.label({name!r}) gave {type(text).__name__}, not text")
    return text


cdef str _class_of(object source):
    return f"{type(source).__module__}.{type(source).__qualname__}"


cdef int check_texts(dict labels) except -1:
    """Raise TypeError for a label whose name or value is no text."""
    cdef PyObject *name
    cdef PyObject *text
    cdef Py_ssize_t position = 0
    while PyDict_Next(labels, &position, &name, &text):
        if type(<object>name) is not str or type(<object>text) is not str:
            raise TypeError(f"the label {<object>name!r} is {type(<object>text).__name__}, not text")
    return 0


cdef dict make_labels(object source):
    """Give the labels of a source as a dict of their own."""
    labels = source.labels()
    if type(labels) is not dict:
        raise TypeError(f"{_class_of(source)}.labels() gave {type(labels).__name__}, not a dict")
    try:
        check_texts(<dict>labels)
    except TypeError as error:
        raise TypeError(f"{_class_of(source)}.labels(): {error}") from None
    return <dict>labels


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Parsed:
    """One message: its typed payload and its labels.

    ``labels`` is a dict, or a ``LabelSource`` that makes them when they are asked for. ``raw`` is the message's own
    bytes (default: the packet's whole payload), ``payload_type`` one of those that the parser declares (default: the
    first).
    """

    def __init__(self, payload, labels not None, raw=None, payload_type=None):
        global _known_source
        if type(labels) is dict:
            check_texts(<dict>labels)
        elif type(labels) is not _known_source:
            if not (hasattr(labels, "label") and hasattr(labels, "labels")):
                raise TypeError(f"labels is {type(labels).__name__}, neither a dict nor a LabelSource")
            _known_source = type(labels)
        self.payload = payload
        self.named = labels
        self.raw = raw
        self.payload_type = payload_type

    @property
    def labels(self):
        if type(self.named) is not dict:
            self.named = make_labels(self.named)
        return self.named

    def __repr__(self):
        return f"Parsed({self.payload!r}, {self.labels!r})"


@cython.final
@cython.no_gc
@cython.freelist(512)
cdef class OutputPacket:
    """One message or record on its way to the reporters. Processors may change ``labels``; all else stays as it is,
    except for what a processor that declares ``rewrites`` gives to ``replace``.

    ``label`` answers one label; ``labels`` is the dict of all, made when it is asked for first.

    ``timestamp`` is in ns since 1970. Addresses are of the innermost IP header; ``outer_src_ip``, ``outer_dst_ip``,
    ``tunnel`` and ``vni`` are ``None`` and ``vlans`` is empty where there are none.

    What a component emitted ``is_record``: its ``raw_payload`` is empty, its ``key`` may be given, and its addresses
    and its ``flow`` may be ``None``.
    """

    def __init__(self, *, task_id="", agent_id="", pipeline_id=0, timestamp=0, src_ip="0.0.0.0", dst_ip="0.0.0.0",
                 src_port=0, dst_port=0, protocol=17, dict labels=None, payload_type="raw", payload=None,
                 bytes raw_payload=b"",
                 outer_src_ip=None, outer_dst_ip=None, tunnel=None, vni=None, vlans=(), key=None, is_record=False):
        memset(&self.at, 0, sizeof(Layers))
        self.task_id = task_id
        self.agent_id = agent_id
        self.pipeline_id = pipeline_id
        self.named = {} if labels is None else labels
        self.payload_type = payload_type
        self.payload = payload
        self.raw_payload = raw_payload
        self.key = key
        self.is_record = is_record
        self.at.timestamp = timestamp
        if src_ip is not None:
            src = ip_address(src_ip)
            dst = ip_address(dst_ip)
            self.at.ip_version = src.version
            memcpy(self.at.src, <const unsigned char *>(<bytes>src.packed), len(src.packed))
            memcpy(self.at.dst, <const unsigned char *>(<bytes>dst.packed), len(dst.packed))
        self.at.src_port = src_port
        self.at.dst_port = dst_port
        self.at.protocol = protocol
        if outer_src_ip is not None:
            src = ip_address(outer_src_ip)
            dst = ip_address(outer_dst_ip)
            self.at.outer_version = src.version
            memcpy(self.at.outer_src, <const unsigned char *>(<bytes>src.packed), len(src.packed))
            memcpy(self.at.outer_dst, <const unsigned char *>(<bytes>dst.packed), len(dst.packed))
        self.at.tunnel = TUNNEL_NAMES.index(tunnel)
        if vni is not None:
            self.at.has_vni = 1
            self.at.vni = vni
        self.at.vlan_count = len(vlans)
        for i, vlan in enumerate(vlans[:2]):
            self.at.vlans[<Py_ssize_t>i] = vlan

    @property
    def labels(self):
        if type(self.named) is not dict:
            self.named = make_labels(self.named)
        return self.named

    @labels.setter
    def labels(self, dict labels not None):
        self.named = labels

    def label(self, str name not None):
        """Give a label's value, ``None`` where it is missing."""
        cdef PyObject *found
        if type(self.named) is dict:
            found = PyDict_GetItem(self.named, name)
            return None if found == NULL else <object>found
        if type(self.named) is _answering:
            return _answer(self.named, name)
        return _ask(self.named, name)

    def replace(self, *, payload=_KEPT, raw_payload=_KEPT):
        """Put something else in the place of ``payload`` or ``raw_payload``: for processors that declare ``rewrites``,
        while ``process`` runs.

        Labels that the parser makes when they are asked for are made before, and stay as they are. Raises TypeError for
        any other caller, and for a ``raw_payload`` that is not bytes.
        """
        if not self.replaceable:
            raise TypeError("only a processor that declares rewrites may replace what a message holds")
        if raw_payload is not _KEPT and type(raw_payload) is not bytes:
            raise TypeError(f"raw_payload is {type(raw_payload).__name__}, not bytes")
        if type(self.named) is not dict:
            self.named = make_labels(self.named)
        if payload is not _KEPT:
            self.payload = payload
        if raw_payload is not _KEPT:
            self.raw_payload = raw_payload

    @property
    def timestamp(self):
        return self.at.timestamp

    @property
    def src_ip(self):
        return ip_object(self.at.src, self.at.ip_version)

    @property
    def dst_ip(self):
        return ip_object(self.at.dst, self.at.ip_version)

    @property
    def src_port(self):
        return self.at.src_port

    @property
    def dst_port(self):
        return self.at.dst_port

    @property
    def protocol(self):
        return self.at.protocol

    @property
    def flow(self):
        if self.at.ip_version == 0:
            return None
        return make_flow_key(self.at.ip_version, self.at.src, self.at.dst, self.at.src_port, self.at.dst_port,
                             self.at.protocol)

    @property
    def outer_src_ip(self):
        return ip_object(self.at.outer_src, self.at.outer_version)

    @property
    def outer_dst_ip(self):
        return ip_object(self.at.outer_dst, self.at.outer_version)

    @property
    def tunnel(self):
        return TUNNEL_NAMES[self.at.tunnel]

    @property
    def vni(self):
        return self.at.vni if self.at.has_vni else None

    @property
    def vlans(self):
        return _vlans(&self.at)

    def __repr__(self):
        ends = f"{self.src_ip}:{self.at.src_port} -> {self.dst_ip}:{self.at.dst_port}"
        return f"OutputPacket({self.payload_type}, {ends}, {self.labels!r})"


def let_replace(OutputPacket output not None, bint may):
    """Let ``replace`` work or not, as it does while a processor that rewrites has the message: for tests."""
    output.replaceable = may


cdef OutputPacket make_output(DecodedPacket packet, object task_id, object agent_id, object pipeline_id,
                              object labels, object payload_type, object payload, bytes raw_payload):
    """Make the output of one message found in ``packet``; it pins nothing of the frame."""
    cdef OutputPacket output = OutputPacket.__new__(OutputPacket)
    output.at = packet.at
    output.at.payload = NULL
    output.task_id = task_id
    output.agent_id = agent_id
    output.pipeline_id = pipeline_id
    output.named = add_captured_labels(labels, packet.captured()) if packet.at.metadata else labels
    output.payload_type = payload_type
    output.payload = payload
    output.raw_payload = raw_payload
    return output
