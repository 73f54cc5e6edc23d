"""From outputs to Kafka's records: key, value, headers, and which partition each belongs to.

In: outputs, and the lanes of their topic. Out: records in the ``BatchWriter`` of each lane (``batch``). A record is
written where it is to lie; lengths, which stand before what they count, are put in afterwards. Everything about
addresses is printed anew for each message: in C that takes less than to look a flow up.
"""

import time

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from otus_kafka.batch import encode_text, record_body

from otus_core.inline.labels cimport Label, load_little, next_label
from otus_core.inline.layouts cimport Flow
from otus_core.inline.outputs cimport OutputEntry, OutputView, output_entry
from otus_core.inline.text cimport ADDRESS_MAX, DECIMAL_MAX, print_address, print_decimal
from otus_core.inline.writer cimport WRITER_KEEPS, Writer, raw, raw_bytes, written

from otus_kafka.batch cimport (
    BATCH_HEADER, RECORD_HEAD, VARINT_MAX, BatchWriter, close_field, encode_name, give_back, open_field, put_field,
    put_varint,
)

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    void *PyUnicode_DATA(object)

cdef enum:
    RECORDS_IN_BATCH = 16384
    RECORD_EXPECTED = 4096      # bytes of most records: less memory is not begun with
    CACHED_KINDS = 64           # a cache is emptied when it is full
    END_MAX = ADDRESS_MAX + 1 + DECIMAL_MAX     # an address, a colon and a port
    NAMED_HEADERS = 5           # task, agent, payload type, timestamp twice; and the schema, where there is one
    ADDRESS_HEADERS = 4

cdef const OutputEntry *_core = output_entry()


cdef int _text(Writer *out, const char *text, Py_ssize_t n) except -1:
    put_varint(out, n)
    return raw(out, text, n)


cdef int _label(Writer *out, object name, object text) except -1:
    """Write the header of a label: ``l.`` and its name, and its text."""
    if not isinstance(name, str) or not isinstance(text, str):
        raise TypeError("a label is text")
    if PyUnicode_IS_COMPACT_ASCII(name):
        put_varint(out, 2 + PyUnicode_GET_LENGTH(name))
        raw(out, b"l.", 2)
        raw(out, <const char *>PyUnicode_DATA(name), PyUnicode_GET_LENGTH(name))
    else:
        put_field(out, b"l." + encode_name(name))
    if PyUnicode_IS_COMPACT_ASCII(text):
        return _text(out, <const char *>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))
    return put_field(out, encode_text(text))


cdef Py_ssize_t _survey(bytes packed, bytes name, Label *found) except -1:
    """Give how many labels there are, and the first one of this name, if it is there; ValueError when lengths do not
    fit.
    """
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(packed)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(packed)
    cdef Py_ssize_t name_len = -1 if name is None else PyBytes_GET_SIZE(name)
    cdef Label label
    cdef Py_ssize_t count = 0
    found.text = NULL
    while at < end:
        at = next_label(at, end, &label)
        count += 1
        if label.name_len == name_len and memcmp(label.name, PyBytes_AS_STRING(name), name_len) == 0:
            found[0] = label
            name_len = -1
    return count


cdef int _labels(Writer *out, dict labels) except -1:
    cdef PyObject *name
    cdef PyObject *text
    cdef Py_ssize_t position = 0
    while PyDict_Next(labels, &position, &name, &text):
        _label(out, <object>name, <object>text)
    return 0


cdef int _packed(Writer *out, bytes packed) except -1:
    """Write the headers of packed labels."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(packed)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(packed)
    cdef Label label
    while at < end:
        at = next_label(at, end, &label)
        put_varint(out, 2 + <int64_t>label.name_len)
        raw(out, b"l.", 2)
        raw(out, <const char *>label.name, label.name_len)
        _text(out, <const char *>label.text, label.text_len)
    return 0


cdef uint32_t _murmur2(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """MurmurHash2 with the seed that Kafka's own partitioner uses, its sign bit cleared."""
    cdef uint32_t m = 0x5BD1E995
    cdef uint32_t h = <uint32_t>0x9747B28C ^ <uint32_t>size
    cdef uint32_t k
    while size >= 4:
        k = load_little(data)
        k *= m
        k ^= k >> 24
        k *= m
        h = h * m ^ k
        data += 4
        size -= 4
    if size:
        if size == 3:
            h ^= <uint32_t>data[2] << 16
        if size >= 2:
            h ^= <uint32_t>data[1] << 8
        h ^= data[0]
        h *= m
    h ^= h >> 13
    h *= m
    h ^= h >> 15
    return h & 0x7FFFFFFF


def partition_hash(bytes key not None):
    """Give Kafka's hash of a key; modulo the number of partitions it is the default partitioner's choice."""
    return _murmur2(<const uint8_t *>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))


# One end of a flow as text: "192.0.2.10:5060", of which ``address_len`` bytes are the address.
cdef struct End:
    char text[END_MAX]
    Py_ssize_t address_len
    Py_ssize_t len


cdef struct Ends:
    End src
    End dst
    bint given                  # false for a record without addresses


cdef void _print_ends(Ends *ends, const Flow *flow) noexcept nogil:
    ends.given = flow.version != 0
    if ends.given:
        _print_end(&ends.src, flow.src, flow.version, flow.src_port)
        _print_end(&ends.dst, flow.dst, flow.version, flow.dst_port)


cdef void _print_end(End *end, const uint8_t *address, int version, unsigned int port) noexcept nogil:
    cdef char *at = print_address(end.text, address, version)
    end.address_len = at - end.text
    at[0] = c":"
    end.len = print_decimal(at + 1, port) - end.text


cdef Py_ssize_t _join_ends(char *target, const End *first, const End *second) noexcept nogil:
    """Write two ends with a hyphen between them, and give how many bytes that takes."""
    memcpy(target, first.text, first.len)
    target[first.len] = c"-"
    memcpy(target + first.len + 1, second.text, second.len)
    return first.len + 1 + second.len


cdef Py_ssize_t _flow_key(char *target, const Ends *ends) noexcept nogil:
    """Write what both directions of a flow share: its ends, the lesser text first."""
    cdef Py_ssize_t n = min(ends.src.len, ends.dst.len)
    cdef int order = memcmp(ends.src.text, ends.dst.text, n)
    if order > 0 or (order == 0 and ends.dst.len < ends.src.len):
        return _join_ends(target, &ends.dst, &ends.src)
    return _join_ends(target, &ends.src, &ends.dst)


cdef int _address_headers(Writer *body, Ends *ends) except -1:
    _text_header(body, b"src_ip", 6, ends.src.text, ends.src.address_len)
    _text_header(body, b"dst_ip", 6, ends.dst.text, ends.dst.address_len)
    _text_header(body, b"src_port", 8, ends.src.text + ends.src.address_len + 1,
                 ends.src.len - ends.src.address_len - 1)
    return _text_header(body, b"dst_port", 8, ends.dst.text + ends.dst.address_len + 1,
                        ends.dst.len - ends.dst.address_len - 1)


cdef int _text_header(Writer *body, const char *name, Py_ssize_t name_len, const char *text, Py_ssize_t n) except -1:
    _text(body, name, name_len)
    return _text(body, text, n)


cdef int _time_headers(Writer *body, int64_t at) except -1:
    """Write the time in ms and in ns."""
    cdef char text[DECIMAL_MAX]
    at = max(at, 0)
    _text_header(body, b"timestamp", 9, text, print_decimal(text, at // 1_000_000) - text)
    return _text_header(body, b"timestamp_ns", 12, text, print_decimal(text, at) - text)


@cython.final
cdef class Encoder:
    """Puts outputs into the lanes of their topic."""

    cdef object call_labels
    cdef object schemas         # by payload type, the name of its schema
    cdef bint described         # whether the last payload type has one
    cdef bint keyed             # partitions by call, or by a record's own key
    cdef bint by_flow
    cdef Py_ssize_t beyond      # the lane of the last record that had neither key nor addresses
    cdef bint key_is_partition
    cdef bint binary
    cdef Py_ssize_t largest
    cdef dict kinds             # (task, agent, payload type) → the headers that name them and the schema
    cdef object task            # of the last output, and what belongs to these three
    cdef object agent
    cdef object payload_type
    cdef bytes named
    cdef object call_label      # the name of its label, and the same as bytes
    cdef bytes call_name
    # Of the output that is being encoded
    cdef OutputView view
    cdef Ends ends
    cdef const char *key        # what the partition is chosen by, NULL where nothing is
    cdef Py_ssize_t key_len
    cdef char flow_key[2 * END_MAX + 1]
    cdef bytes packed           # its labels, and how many there are; or the dict of them
    cdef dict labels
    cdef Py_ssize_t label_count
    cdef bytes call             # what ``key`` refers to
    # A record that is the first of its batch, or that has no room in the one that is there
    cdef Writer body

    def __init__(self, config, call_labels, schemas):
        self.schemas = {} if config.serialization == "binary" else schemas
        self.keyed = config.partition_by == "call_id"
        self.call_labels = call_labels if self.keyed else {}
        self.by_flow = config.partition_by != "none"
        self.key_is_partition = config.key == "partition"
        self.binary = config.serialization == "binary"
        self.largest = config.max_message_bytes - RECORD_HEAD - BATCH_HEADER
        self.kinds = {}

    def __dealloc__(self):
        give_back(&self.body)

    def place(self, batch, lanes, ticket, places):
        """Encode each output and add it to a lane; ``places`` are their numbers in the ticket.

        One that cannot be encoded, or is too large, is settled at once.
        """
        cdef int64_t now_ms = <int64_t>(time.time() * 1000)
        cdef list all_lanes = lanes.lanes
        cdef list writers = [lane.writer for lane in all_lanes]
        cdef list touched = []
        cdef Py_ssize_t limit = all_lanes[0].limit.bytes
        cdef Py_ssize_t spread = -1 if self.by_flow else lanes.next()
        cdef Py_ssize_t at, begun, size
        cdef BatchWriter writer
        cdef int32_t place
        for output, number in zip(batch, places):
            place = number
            begun = -1
            try:
                at = self.choose(output, len(all_lanes), spread)
                writer = writers[at]
                if writer is None or writer.count >= RECORDS_IN_BATCH:
                    self.body.at = self.body.start
                    self.write(output, &self.body)
                    size = written(&self.body)
                else:
                    begun = writer.begin(RECORD_EXPECTED)
                    size = written(&writer.out)
                    self.write(output, &writer.out)
                    size = written(&writer.out) - size
            except Exception:  # a payload's own to_json, or a label that is no text: this message alone is lost
                size = -1
            if not 0 <= size <= self.largest:
                if begun >= 0:
                    writer.undo(begun)
                ticket.fail("encode" if size < 0 else "too_large", (place,))
                continue
            if begun >= 0 and writer.bytes_taken() + VARINT_MAX > limit:    # its length may need more than its guess
                self.body.at = self.body.start
                raw(&self.body, writer.out.at - size, size)
                writer.undo(begun)
                begun = -1
            if begun < 0:
                writer = writers[at] = all_lanes[at].next_writer(now_ms)
            if writer.owner is not ticket:
                writer.give_to(ticket)
                touched.append(all_lanes[at])
            if begun < 0:
                writer.add(self.body.start, size, place)
            else:
                writer.commit(begun, place)
        self.packed = self.call = self.labels = None
        if self.body.end - self.body.start > WRITER_KEEPS:
            give_back(&self.body)
        for lane in touched:
            lane.poke()

    cdef Py_ssize_t choose(self, object output, Py_ssize_t count, Py_ssize_t lane) except -1:
        """Read what the record is to say of one output, except for its payload, and give which of ``count`` lanes is
        its own; with ``lane`` ≥ 0 that one is.
        """
        cdef Label found
        cdef bint by_call
        _core.view(output, &self.view)
        self.know_kind()
        _print_ends(&self.ends, &self.view.flow)
        self.packed = _core.packed_labels(output)
        self.labels = output.labels if self.packed is None else None
        by_call = self.by_flow and (self.keyed or not self.ends.given)
        self.label_count = (
            len(self.labels) if self.packed is None
            else _survey(self.packed, self.call_name if by_call else None, &found)
        )
        self.key = NULL
        if by_call and <object>self.view.key is not None:
            self.key_by(<object>self.view.key)
        elif by_call and self.call_label is not None and self.packed is None:
            self.key_by(self.labels.get(self.call_label))
        elif by_call and self.call_label is not None and found.text != NULL:
            self.key, self.key_len = <const char *>found.text, found.text_len
        if self.key == NULL and self.by_flow and self.ends.given:
            self.key, self.key_len = self.flow_key, _flow_key(self.flow_key, &self.ends)
        if self.key != NULL:
            return _murmur2(<const uint8_t *>self.key, self.key_len) % count
        if lane < 0:
            lane = self.beyond = (self.beyond + 1) % count
        return lane

    cdef int key_by(self, object text) except -1:
        if text is not None:
            self.call = encode_text(text)
            self.key, self.key_len = PyBytes_AS_STRING(self.call), PyBytes_GET_SIZE(self.call)
        return 0

    cdef int write(self, object output, Writer *body) except -1:
        """Write the body of the output's record. The value comes first of what may be foreign code."""
        cdef Py_ssize_t at
        cdef char text[2 * END_MAX + 1]
        if not self.key_is_partition and self.ends.given:
            _text(body, text, _join_ends(text, &self.ends.src, &self.ends.dst))
        elif self.key != NULL:
            _text(body, self.key, self.key_len)
        else:
            put_field(body, None)
        if self.binary and not self.view.is_record:
            put_field(body, <bytes>self.view.raw_payload)
        else:
            at = written(body)
            open_field(body)
            _core.write_json(output, self.packed, body)
            close_field(body, at)
        put_varint(body, NAMED_HEADERS + self.described + ADDRESS_HEADERS * self.ends.given + self.label_count)
        raw_bytes(body, self.named)
        if self.ends.given:
            _address_headers(body, &self.ends)
        _time_headers(body, self.view.timestamp)
        if self.packed is None:
            return _labels(body, self.labels)
        return _packed(body, self.packed)

    cdef int know_kind(self) except -1:
        """Have the headers that name the output's task, agent and payload type."""
        cdef object payload_type = <object>self.view.payload_type
        cdef object task = <object>self.view.task_id
        cdef object agent = <object>self.view.agent_id
        if payload_type is self.payload_type and task is self.task and agent is self.agent:
            return 0
        named = self.kinds.get((task, agent, payload_type))
        schema = self.schemas.get(payload_type)
        if named is None:
            if len(self.kinds) >= CACHED_KINDS:
                self.kinds.clear()
            named = self.kinds[task, agent, payload_type] = b"".join((
                _header("task_id", encode_text(task)),
                _header("agent_id", encode_text(agent)),
                _header("payload_type", encode_text(payload_type)),
                b"" if schema is None else _header("schema", encode_text(schema)),
            ))
        self.named = named
        self.described = schema is not None
        self.call_label = self.call_labels.get(payload_type)
        self.call_name = None if self.call_label is None else encode_text(self.call_label)
        self.payload_type, self.task, self.agent = payload_type, task, agent
        return 0


cdef bytes _header(str name, bytes value):
    """Give one record header."""
    return record_body(None, None, [(name, value)])[3:]
