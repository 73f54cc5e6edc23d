"""The messages of a call as its record has them: the lines of a ladder.

They are half of a record, so they are written as JSON from what is kept of them, and become objects when somebody asks.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport strlen

from otus_core.inline.json cimport write_number, write_str, write_utf8
from otus_core.inline.text cimport ADDRESS_MAX, print_address
from otus_core.inline.writer cimport Writer, keep, raw, raw_bytes, room, take

from otus_core import to_json

from otus_calls.note cimport DUPLICATE, METHOD_NAMES, RETRANSMISSION, Note, Packed, text_of, transport_of
from otus_calls.replay cimport Outcome

cdef Writer _writer
cdef object _to_json = to_json


cdef bytes write_messages(Outcome outcome, list described):
    """Give the messages as a JSON array. ``described`` has the media lines of each, ``None`` for one without."""
    cdef Writer out
    cdef int32_t i
    take(&_writer, &out)
    try:
        _put(&out, b"[")
        for i in range(outcome.count):
            if i:
                _put(&out, b",")
            _write_message(&out, outcome, i, described[i])
        _put(&out, b"]")
        return PyBytes_FromStringAndSize(out.start, out.at - out.start)
    finally:
        keep(&_writer, &out)


cdef int _write_message(Writer *out, Outcome outcome, int32_t place, list media) except -1:
    cdef const Packed *kept = outcome.order[place]
    cdef const char *at = text_of(kept)
    cdef Note note = outcome.note(place) if kept.fields else None
    cdef bint by_caller = kept.by_caller == (kept.status == 0)
    _put(out, b'{"time_ns":')
    write_number(out, kept.time)
    _write_end(out, b',"src":"', kept.flow.src, kept.flow.version, b'","sport":', kept.flow.src_port)
    _write_end(out, b',"dst":"', kept.flow.dst, kept.flow.version, b'","dport":', kept.flow.dst_port)
    _put(out, b',"transport":')
    write_str(out, transport_of(kept.flow.protocol))
    _put(out, b',"by":"caller","method":' if by_caller else b',"by":"callee","method":')
    write_str(out, <str>METHOD_NAMES[kept.method])
    _put(out, b',"status":')
    if kept.status:
        write_number(out, kept.status)
        _put(out, b',"reason":')
        write_utf8(out, <const uint8_t *>at + kept.to_tag + kept.branch, kept.line)
    else:
        _put(out, b'null,"reason":null')
    _put(out, b',"cseq":')
    write_number(out, kept.cseq)
    _put(out, b',"to_tag":')
    _write_text(out, at, kept.to_tag)
    _put(out, b',"branch":')
    _write_text(out, at + kept.to_tag, kept.branch)
    _put(out, b',"retransmission":true' if kept.repeat == RETRANSMISSION else b',"retransmission":false')
    _put(out, b',"duplicate":true' if kept.repeat == DUPLICATE else b',"duplicate":false')
    _put(out, b',"size":')
    write_number(out, kept.size)
    _put(out, b',"reason_header":')
    _write_field(out, note, "reason")
    _put(out, b',"refer_to":')
    _write_field(out, note, "refer-to")
    _put(out, b',"sdp":')
    if media is None:
        _put(out, b"null")
    else:
        raw_bytes(out, <bytes>_to_json(media))
    return _put(out, b"}")


cdef inline int _put(Writer *out, const char *text) except -1:
    return raw(out, text, strlen(text))


cdef int _write_end(Writer *out, const char *name, const uint8_t *address, int version, const char *of_port,
                    int port) except -1:
    _put(out, name)
    if version:
        out.at = print_address(room(out, ADDRESS_MAX), address, version)
    _put(out, of_port)
    return write_number(out, port)


cdef int _write_text(Writer *out, const char *text, Py_ssize_t size) except -1:
    return write_utf8(out, <const uint8_t *>text, size) if size else _put(out, b"null")


cdef int _write_field(Writer *out, Note note, str name) except -1:
    cdef str value = None if note is None or note.fields is None else note.fields.get(name)
    return _put(out, b"null") if value is None else write_str(out, value)
