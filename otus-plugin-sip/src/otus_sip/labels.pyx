"""The labels of a message, made when somebody asks: what filters look at and reports carry beside the message.

A label is absent, not empty, when it does not apply. ``sip.method`` is a request's alone, ``sip.cseq_method`` is on
requests and responses alike. Those of ``names.ASKED`` are made for who asks for them by name, and are in no report.
"""

from libc.stdint cimport uint8_t

from otus_sip.address cimport Address, find_parameter
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport CALL_ID, FROM, REQUEST, TO, VIA, method_id
from otus_sip.verdict cimport fault_of

from otus_sip.names import ASKED, FIELDS, REPORTED
from otus_sip.scan import METHODS

cdef enum:
    FIELDS_MAX = 70         # RFC 3261 §8.1.1.6: Max-Forwards starts at 70; more Via fields are no route

cdef enum Label:
    METHOD = 1
    STATUS_CODE = 2
    CSEQ_METHOD = 3
    CALL = 4
    FROM_URI = 5
    TO_URI = 6
    ROUTE = 7
    FAULT = 8
    TRAILING = 9
    WHEN_ASKED = 10

cdef tuple _NAMES = REPORTED
cdef dict _BY_NAME = {name: number for number, name in enumerate(REPORTED, 1)} | {name: WHEN_ASKED for name in ASKED}
cdef dict _FIELDS = FIELDS
cdef tuple _METHODS = METHODS
cdef list _STATUS_TEXTS = [str(code) for code in range(700)]


cdef inline str known_method(int known):
    return <str>_METHODS[known]


# The label that was asked for last: a filter asks for the same one in every message.
cdef str _asked = REPORTED[0]
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
    return _when_asked(message, name) if _asked_label == WHEN_ASKED else _value(message, _asked_label)


cdef dict message_labels(SipMessage message):
    """Give all labels that apply."""
    cdef dict labels = {}
    cdef int label
    for label in range(METHOD, <int>WHEN_ASKED):
        value = _value(message, label)
        if value is not None:
            labels[_NAMES[label - 1]] = value
    return labels


cdef object _value(SipMessage message, int label):
    cdef int known
    if label == METHOD:
        if message.line.kind != REQUEST:
            return None
        return known_method(message.line.known) if message.line.known else message.text(message.data,
                                                                                        message.line.method_len)
    elif label == STATUS_CODE:
        return None if message.line.kind == REQUEST else _STATUS_TEXTS[message.line.status]
    elif label == CSEQ_METHOD:
        if message.cseq_method == NULL:
            return None
        known = method_id(message.cseq_method, message.cseq_method_len)
        return known_method(known) if known else message.text(message.cseq_method, message.cseq_method_len)
    elif label == CALL:
        if message.first[CALL_ID] < 0:
            return None
        return message.value_text(&message.fields[message.first[CALL_ID]]) or None
    elif label == FROM_URI:
        return _uri(message, FROM)
    elif label == TO_URI:
        return _uri(message, TO)
    elif label == FAULT:
        return _fault(message)
    elif label == TRAILING:
        return str(message.trailing_size()) if message.trailing_size() else None
    return _join(message, VIA, None)


cdef object _fault(SipMessage message):
    cdef const char *fault = fault_of(message)
    return None if fault == NULL else fault.decode("ascii")


cdef object _when_asked(SipMessage message, str name):
    field = _FIELDS.get(name)
    if field is not None:
        return _join(message, -1, <str>field)
    if name == "sip.request_uri":
        return message.request_uri
    if name == "sip.reason_phrase":
        return message.reason or None
    if name == "sip.cseq":
        return str(message.cseq_number) if message.cseq_number >= 0 and message.cseq_method != NULL else None
    if name == "sip.transport":
        return _transport(message)
    if name.endswith("_tag"):
        return _tag(message, FROM if name == "sip.from_tag" else TO)
    return _user(_uri(message, FROM if name == "sip.from_user" else TO))


cdef object _transport(SipMessage message):
    """Give the transport of the newest Via, ``SIP/2.0/UDP host``: blanks may stand around its slashes
    (RFC 3261 §25.1).
    """
    cdef list parts = message.field_text(VIA).split("/", 2)
    return (parts[2].split(None, 1) or [None])[0] if len(parts) == 3 else None


cdef object _tag(SipMessage message, int header):
    cdef const Address *found = message.party(header)
    cdef const uint8_t *tag = NULL
    cdef Py_ssize_t tag_len = 0
    if found != NULL and find_parameter(found.parameters, found.parameters_len, b"tag", 3, &tag, &tag_len) and tag_len:
        return message.text(tag, tag_len)
    return None


cdef object _user(object uri):
    """Give the user of ``sip:user:password@host``, the number of ``tel:+1-201-555-0123``."""
    if uri is None:
        return None
    scheme, _, rest = (<str>uri).partition(":")
    if scheme.lower() == "tel":
        return rest.partition(";")[0] or None
    user, at, _ = rest.rpartition("@")
    return user.partition(":")[0] or None


cdef object _uri(SipMessage message, int header):
    cdef const Address *found = message.party(header)
    return message.text(found.uri, found.uri_len) if found != NULL and found.uri_len > 0 else None


cdef object _join(SipMessage message, int header, str name):
    """Give the values of all fields with an id or a name, in order, joined with a comma; one alone, the ordinary case,
    needs no joining.
    """
    cdef Py_ssize_t i
    cdef list values = []
    cdef Py_ssize_t first = 0 if header < 0 else message.first[header]
    if first < 0:
        return None
    for i in range(first, message.count):
        if message.fields[i].id == header if header >= 0 else message.is_named(&message.fields[i], name):
            values.append(message.value_text(&message.fields[i]))
            if len(values) == FIELDS_MAX:
                break
    return (values[0] if len(values) == 1 else ", ".join(values)) or None
