"""From outputs to the bodies of Kafka's records: key, value, headers, and which partition each belongs to.

In: outputs, and the lanes of their topic. Out: records in the ``BatchWriter`` of each lane (``batch``). A body is put
together in one place that is used again, and is then copied behind its head. Everything about addresses is printed anew
for each message: in C that takes less than to look a flow up.
"""

import time

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

from otus_core import encode_json, packed_labels

from otus_kafka.batch import encode_text, record_body

from otus_core.inline.labels cimport Label, load_little, next_label
from otus_core.inline.text cimport ADDRESS_MAX, DECIMAL_MAX, print_address, print_decimal
from otus_core.inline.writer cimport WRITER_KEEPS, Writer, raw, raw_bytes, written

from otus_kafka.batch cimport BATCH_HEADER, RECORD_HEAD, BatchWriter, encode_name, give_back, put_field, put_varint

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    void *PyUnicode_DATA(object)

cdef enum:
    RECORDS_IN_BATCH = 16384
    CACHED_KINDS = 64           # a cache is emptied when it is full
    END_MAX = ADDRESS_MAX + 1 + DECIMAL_MAX     # an address, a colon and a port
    NAMED_HEADERS = 5           # task, agent, payload type, timestamp twice; and the schema, where there is one
    ADDRESS_HEADERS = 4


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
        put_varint(out, PyUnicode_GET_LENGTH(text))
        return raw(out, <const char *>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))
    return put_field(out, encode_text(text))


cdef Py_ssize_t _count_packed(bytes packed) except -1:
    """Give how many labels there are; ValueError when lengths do not fit."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(packed)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(packed)
    cdef Label label
    cdef Py_ssize_t count = 0
    while at < end:
        at = next_label(at, end, &label)
        count += 1
    return count


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
        put_varint(out, label.text_len)
        raw(out, <const char *>label.text, label.text_len)
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


cdef int _read_ends(Ends *ends, tuple parts) except -1:
    """Print what ``FlowKey.parts`` gives: address, port, address, port, protocol."""
    ends.given = True
    _print_end(&ends.src, <bytes?>parts[0], parts[1])
    return _print_end(&ends.dst, <bytes?>parts[2], parts[3])


cdef int _print_end(End *end, bytes packed, unsigned int port) except -1:
    cdef int version = 4 if PyBytes_GET_SIZE(packed) == 4 else 6
    cdef char *at = print_address(end.text, <const uint8_t *>PyBytes_AS_STRING(packed), version)
    end.address_len = at - end.text
    at[0] = c":"
    end.len = print_decimal(at + 1, port & 0xFFFF) - end.text
    return 0


cdef int _ends(Writer *body, End *first, End *second) except -1:
    """Write two ends with a hyphen between them."""
    raw(body, first.text, first.len)
    raw(body, b"-", 1)
    return raw(body, second.text, second.len)


cdef int _flow_key(Writer *body, Ends *ends) except -1:
    """Write what both directions of a flow share: its ends, the lesser text first."""
    cdef Py_ssize_t n = min(ends.src.len, ends.dst.len)
    cdef int order = memcmp(ends.src.text, ends.dst.text, n)
    if order > 0 or (order == 0 and ends.dst.len < ends.src.len):
        return _ends(body, &ends.dst, &ends.src)
    return _ends(body, &ends.src, &ends.dst)


cdef int _partition_key(Writer *body, Ends *ends, bytes call, bint by_flow) except -1:
    """Write what the partition is chosen by as the record's key; null where nothing is."""
    if call is not None or not by_flow or not ends.given:
        return put_field(body, call)
    put_varint(body, ends.src.len + 1 + ends.dst.len)
    return _flow_key(body, ends)


cdef int _address_headers(Writer *body, Ends *ends) except -1:
    _text_header(body, b"src_ip", 6, ends.src.text, ends.src.address_len)
    _text_header(body, b"dst_ip", 6, ends.dst.text, ends.dst.address_len)
    _text_header(body, b"src_port", 8, ends.src.text + ends.src.address_len + 1,
                 ends.src.len - ends.src.address_len - 1)
    return _text_header(body, b"dst_port", 8, ends.dst.text + ends.dst.address_len + 1,
                        ends.dst.len - ends.dst.address_len - 1)


cdef int _text_header(Writer *body, const char *name, Py_ssize_t name_len, const char *text, Py_ssize_t n) except -1:
    put_varint(body, name_len)
    raw(body, name, name_len)
    put_varint(body, n)
    return raw(body, text, n)


cdef int _nanoseconds(Writer *body, int64_t at) except -1:
    cdef char text[DECIMAL_MAX]
    return _text_header(body, b"timestamp_ns", 12, text, print_decimal(text, at if at > 0 else 0) - text)


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
    cdef object call_label
    cdef int64_t last_ms        # of the last output, and its header
    cdef bytes stamp
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
        self.last_ms = -1

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
        cdef Py_ssize_t at
        cdef BatchWriter writer
        cdef int32_t place
        for output, number in zip(batch, places):
            place = number
            try:
                at = self.encode(output, len(all_lanes), spread)
            except Exception:  # a payload's own to_json, or a label that is no text: this message alone is lost
                ticket.fail("encode", (place,))
                continue
            if written(&self.body) > self.largest:
                ticket.fail("too_large", (place,))
                continue
            writer = writers[at]
            if (
                writer is None
                or written(&writer.out) + written(&self.body) + RECORD_HEAD > limit
                or writer.count >= RECORDS_IN_BATCH
            ):
                writer = writers[at] = all_lanes[at].next_writer(now_ms)
            if writer.owner is not ticket:
                writer.give_to(ticket)
                touched.append(all_lanes[at])
            writer.add(self.body.start, written(&self.body), place)
        if self.body.end - self.body.start > WRITER_KEEPS:
            give_back(&self.body)
        for lane in touched:
            lane.poke()

    cdef Py_ssize_t encode(self, object output, Py_ssize_t count, Py_ssize_t lane) except -1:
        """Write the body of one output's record, and give which of ``count`` lanes is its own; with ``lane`` ≥ 0 that
        one is.

        All that may be foreign code is called before anything is written.
        """
        cdef bytes value = output.raw_payload if self.binary and not output.is_record else encode_json(output)
        cdef int64_t ms = output.timestamp // 1_000_000
        cdef bytes packed = packed_labels(output)
        cdef dict labels = output.labels if packed is None else None
        cdef Writer *body = &self.body
        cdef bytes call = None
        cdef Ends ends
        cdef PyObject *name
        cdef PyObject *text
        cdef Py_ssize_t position = 0
        flow = output.flow
        ends.given = False
        if flow is not None:
            _read_ends(&ends, flow.parts())
        self.know_kind(output)
        if ms != self.last_ms:
            self.last_ms, self.stamp = ms, _header("timestamp", b"%d" % ms)
        if self.by_flow and (self.keyed or not ends.given):
            found = output.key
            if found is None and self.call_label is not None:
                found = output.label(self.call_label)
            if found is not None:
                call = encode_text(found)
        body.at = body.start
        if call is not None:
            lane = _murmur2(<const uint8_t *>PyBytes_AS_STRING(call), PyBytes_GET_SIZE(call)) % count
        elif lane < 0 and not ends.given:
            lane = self.beyond = (self.beyond + 1) % count
        elif lane < 0:
            _flow_key(body, &ends)
            lane = _murmur2(<const uint8_t *>body.start, written(body)) % count
            body.at = body.start
        if self.key_is_partition:
            _partition_key(body, &ends, call, self.by_flow)
        elif ends.given:
            put_varint(body, ends.src.len + 1 + ends.dst.len)
            _ends(body, &ends.src, &ends.dst)
        else:
            put_field(body, call)
        put_field(body, value)
        put_varint(body, NAMED_HEADERS + self.described + ADDRESS_HEADERS * ends.given
                   + (len(labels) if packed is None else _count_packed(packed)))
        raw_bytes(body, self.named)
        if ends.given:
            _address_headers(body, &ends)
        raw_bytes(body, self.stamp)
        _nanoseconds(body, output.timestamp)
        if packed is not None:
            _packed(body, packed)
            return lane
        while PyDict_Next(labels, &position, &name, &text):
            _label(body, <object>name, <object>text)
        return lane

    cdef int know_kind(self, object output) except -1:
        """Have the headers that name the output's task, agent and payload type."""
        cdef object payload_type = output.payload_type
        cdef object task = output.task_id
        cdef object agent = output.agent_id
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
        self.payload_type, self.task, self.agent = payload_type, task, agent
        return 0


cdef bytes _header(str name, bytes value):
    """Give one record header."""
    return record_body(None, None, [(name, value)])[3:]
