# cython: auto_pickle=False
"""What a condition compares: values of a message.

An operand gives a text, a number, or an address as its packed bytes; ``None`` where the message has no such thing.
Which label or field it reads is data: the argument of ``label``, or the key of a closed set of attributes.
"""

from ipaddress import ip_address

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport Py_TYPE

from otus_core import FlowKey, OutputPacket

from otus_core.inline.layouts cimport Flow

from otus_filter.tokens import DIGITS_MAX

cdef enum:
    # Characters of the longest IP address as text: RFC 4291 §2.2, the form with an embedded IPv4 address
    ADDRESS_MAX = 45

cdef enum Kind:
    TEXT
    NUMBER
    ADDRESS

cdef dict _KINDS = {"text": TEXT, "number": NUMBER, "address": ADDRESS}
cdef int _digits_max = DIGITS_MAX
# Methods and attributes of outputs, looked up once. They ask for an ``OutputPacket`` themselves.
cdef object _label = OutputPacket.label
cdef object _flow_packed = FlowKey.packed
cdef dict _FIELDS = {
    name: getattr(OutputPacket, name)
    for name in ("src_ip", "dst_ip", "src_port", "dst_port", "protocol", "payload_type", "task_id")
}
cdef object _flow = OutputPacket.flow
cdef object _payload = OutputPacket.payload
cdef object _payload_type = OutputPacket.payload_type


cdef inline object _read(object attribute, object output):
    """Read an attribute as the interpreter does once it has found it."""
    return Py_TYPE(attribute).tp_descr_get(attribute, output, <object>Py_TYPE(output))


cdef class Operand:
    """One side of a comparison."""

    cdef object of(self, object output):
        raise NotImplementedError


@cython.final
cdef class Constant(Operand):
    """The same value for every message."""

    cdef object value

    def __init__(self, value):
        self.value = value

    cdef object of(self, object output):
        return self.value


@cython.final
cdef class Label(Operand):
    """A label, read as a kind of value."""

    cdef str name
    cdef Kind kind

    def __init__(self, str name not None, str kind not None):
        self.name = name
        self.kind = _KINDS[kind]

    cdef object of(self, object output):
        value = _label(output, self.name)
        if value is None or self.kind == TEXT:
            return value
        if not isinstance(value, str):
            raise TypeError(f"a label is {type(value).__name__}, not text")
        return _number(<str>value) if self.kind == NUMBER else _address(<str>value)


@cython.final
cdef class OutputField(Operand):
    """A field of the output, as it is."""

    cdef object attribute

    def __init__(self, str name not None):
        self.attribute = _FIELDS[name]

    cdef object of(self, object output):
        return _read(self.attribute, output)


@cython.final
cdef class AddressText(Operand):
    """One of the output's addresses as text; a record may have none."""

    cdef object attribute

    def __init__(self, str name not None):
        self.attribute = _FIELDS[name]

    cdef object of(self, object output):
        address = _read(self.attribute, output)
        return None if address is None else str(address)


@cython.final
cdef class Header(Operand):
    """A header field of a message, by the ``header`` of its payload, read as a kind of value."""

    cdef str payload_type
    cdef str name
    cdef Kind kind

    def __init__(self, str payload_type not None, str name not None, str kind not None):
        self.payload_type = payload_type
        self.name = name
        self.kind = _KINDS[kind]

    cdef object of(self, object output):
        if _read(_payload_type, output) != self.payload_type:
            return None
        header = getattr(_read(_payload, output), "header", None)
        value = None if header is None else header(self.name)
        if value is not None and type(value) is not str:
            raise TypeError(f"a header field is {type(value).__name__}, not text")
        if value is None or self.kind == TEXT:
            return value
        return _number(<str>value) if self.kind == NUMBER else _address(<str>value)


@cython.final
cdef class Body(Operand):
    """The body of a message, by the ``body`` of its payload, as text."""

    cdef object of(self, object output):
        body = getattr(_read(_payload, output), "body", None)
        if type(body) is bytes:
            return (<bytes>body).decode("utf-8", "replace")
        return body if type(body) is str else None


@cython.final
cdef class PackedAddress(Operand):
    """One of the output's addresses, out of its packed flow key: an ``ipaddress`` object gives its value only to Python
    code.
    """

    cdef bint of_source

    def __init__(self, str name not None):
        if name not in ("src_ip", "dst_ip"):
            raise KeyError(name)
        self.of_source = name == "src_ip"

    cdef object of(self, object output):
        cdef object key = _read(_flow, output)
        cdef bytes packed
        cdef const Flow *flow
        cdef const char *address
        if key is None:
            return None
        packed = _flow_packed(key)
        flow = <const Flow *>PyBytes_AS_STRING(packed)
        if PyBytes_GET_SIZE(packed) != sizeof(Flow):
            raise ValueError("not a flow key")
        address = <const char *>flow.src if self.of_source else <const char *>flow.dst
        if flow.version == 4:
            return PyBytes_FromStringAndSize(address, 4)
        return PyBytes_FromStringAndSize(address, 16) if flow.version == 6 else None


cdef object _number(str text):
    """Give the number that a text is: ASCII digits, perhaps with a sign and a fraction, and nothing else."""
    cdef Py_UCS4 c
    cdef long long whole = 0
    cdef int digits = 0
    cdef bint negative = False
    cdef bint fraction = False
    cdef bint first = True
    for c in text:
        if 48 <= <int>c <= 57:
            digits += 1
            # Beyond 64 bits it would overflow; Python's int() takes any length, in time that grows with its square.
            if digits > _digits_max:
                return None
            if not fraction:
                whole = whole * 10 + <int>(<int>c - 48)
        elif c == "." and digits and not fraction:
            fraction = True
            digits = 0
        elif c == "-" and first:
            negative = True
        else:
            return None
        first = False
    if not digits:
        return None
    if fraction:
        return float(text)
    return -whole if negative else whole


cdef object _address(str text):
    """Give the IP address that a text is, packed."""
    # Bounded before it is read, because packets choose the text; with a zone ("%eth0", RFC 4007 §11) it is no address
    # of a network.
    if len(text) > ADDRESS_MAX or "%" in text:
        return None
    try:
        return ip_address(text).packed
    except ValueError:
        return None
