"""How a parser is asked where messages end; what it raises, or says against the rules, costs it the bytes alone."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t


@cython.final
cdef class Framer:
    """The ``frame`` and ``resync`` of one parser.

    ``streams`` are the parser's declared ones, ``ports`` its declared ports, ``mark`` the number that the loop's
    counter ``running`` shows while it is asked.
    """

    def __init__(self, str name not None, component, streams, ports, int mark):
        self.name = name
        self._frame = component.frame
        self._resync = component.resync
        self.protocols = frozenset(one.partition(":")[2].lower() for one in streams if one.startswith("websocket:"))
        table = bytearray(65536)
        for port in ports:
            table[port] = 1
        self.ports = bytes(table)
        self.mark = mark

    cdef Py_ssize_t frame(self, bytes data, Py_ssize_t at) except -2:
        """Give the size of the message that begins at ``at``, 0 where that cannot be said yet, or -1: none does."""
        cdef Py_ssize_t size
        if self.off:
            return -1
        try:
            size = _whole_number(self._frame(data, at))
            if size < -1:
                raise ValueError(f"frame() gave {size}")
        except BaseException as error:
            self.error = error
            return -1
        return size

    cdef Py_ssize_t resync(self, bytes data, Py_ssize_t at) except -2:
        """Give where the next message begins, at ``at`` or behind, or -1: nowhere."""
        cdef Py_ssize_t found
        if self.off or at >= PyBytes_GET_SIZE(data):
            return -1
        try:
            found = _whole_number(self._resync(data, at))
            if found >= PyBytes_GET_SIZE(data) or found < at and found != -1:
                raise ValueError(f"resync() gave {found} for {len(data)} bytes from {at} on")
        except BaseException as error:
            self.error = error
            return -1
        return found

    cdef bint searches(self, int src_port, int dst_port) noexcept:
        """Whether a message is searched for in a stream of these ports whose begin was not captured."""
        cdef const uint8_t *ports = <const uint8_t *>PyBytes_AS_STRING(self.ports)
        return ports[src_port] or ports[dst_port]


cdef Py_ssize_t _whole_number(object given) except? -2:
    if type(given) is not int:
        raise TypeError(f"frame() or resync() gave {type(given).__name__}, not int")
    return <Py_ssize_t>given
