"""The labels of a message, made when somebody asks: what filters look at and reports carry beside the message.

A label is absent, not empty, when it does not apply. ``sip.method`` is a request's alone, ``sip.cseq_method`` is on requests and responses alike.
"""

from libc.stdint cimport uint8_t

from otus_sip.address cimport Address
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport CALL_ID, FROM, REQUEST, TO, VIA, method_id

from otus_sip.scan import METHODS

cdef enum:
    VIAS_MAX = 70           # RFC 3261 §8.1.1.6: Max-Forwards starts at 70; more Via fields are no route

cdef enum Label:
    METHOD = 1
    STATUS_CODE = 2
    CSEQ_METHOD = 3
    CALL = 4
    FROM_URI = 5
    TO_URI = 6
    ROUTE = 7

NAMES = ("sip.method", "sip.status_code", "sip.cseq_method", "sip.call_id", "sip.from_uri", "sip.to_uri", "sip.via")
"""All labels, in the order in which reports carry them."""

cdef tuple _NAMES = NAMES
cdef dict _BY_NAME = {name: number for number, name in enumerate(NAMES, 1)}
cdef tuple _METHODS = METHODS
cdef list _STATUS_TEXTS = [str(code) for code in range(700)]


cdef inline str known_method(int known):
    return <str>_METHODS[known]


# The label that was asked for last: a filter asks for the same one in every message.
cdef str _asked = NAMES[0]
cdef int _asked_label = METHOD


cdef object message_label(SipMessage message, str name):
    """Give one label, ``None`` where it does not apply or is none of ours."""
    global _asked, _asked_label
    if name is not _asked:
        found = _BY_NAME.get(name)
        if found is None:
            return None
        _asked = name
        _asked_label = found
    return _value(message, _asked_label)


cdef dict message_labels(SipMessage message):
    """Give all labels that apply."""
    cdef dict labels = {}
    cdef int label
    for label in range(METHOD, ROUTE + 1):
        value = _value(message, label)
        if value is not None:
            labels[_NAMES[label - 1]] = value
    return labels


cdef object _value(SipMessage message, int label):
    cdef int known
    if label == METHOD:
        if message.line.kind != REQUEST:
            return None
        return known_method(message.line.known) if message.line.known else message.text(message.data, message.line.method_len)
    elif label == STATUS_CODE:
        return None if message.line.kind == REQUEST else _STATUS_TEXTS[message.line.status]
    elif label == CSEQ_METHOD:
        if message.cseq_method == NULL:
            return None
        known = method_id(message.cseq_method, message.cseq_method_len)
        return known_method(known) if known else message.text(message.cseq_method, message.cseq_method_len)
    elif label == CALL:
        return (message.value_text(&message.fields[message.first[CALL_ID]]) or None) if message.first[CALL_ID] >= 0 else None
    elif label == FROM_URI:
        return _uri(message, FROM)
    elif label == TO_URI:
        return _uri(message, TO)
    return _route(message)


cdef object _uri(SipMessage message, int header):
    cdef const Address *found = message.party(header)
    return message.text(found.uri, found.uri_len) if found != NULL and found.uri_len > 0 else None


cdef object _route(SipMessage message):
    """Give every Via value, in order, joined with a comma; one Via line, the ordinary case, needs no joining."""
    cdef Py_ssize_t i
    cdef list values
    cdef Py_ssize_t first = message.first[VIA]
    if first < 0:
        return None
    values = [message.value_text(&message.fields[first])]
    for i in range(first + 1, message.count):
        if message.fields[i].id == VIA:
            values.append(message.value_text(&message.fields[i]))
            if len(values) == VIAS_MAX:
                break
    return (values[0] if len(values) == 1 else ", ".join(values)) or None
