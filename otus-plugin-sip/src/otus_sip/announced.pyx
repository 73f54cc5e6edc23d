"""What session descriptions announce for other parsers: for each RTP media line its endpoints, in the flow registry.

In: a description and who sent it. Out: endpoints with a ``MediaContext``, from the offer on until half a minute after
the call; their owner is the Call-ID. Where a line's RTP and RTCP go is what ``media`` found; the rest is read here.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint16_t
from libc.string cimport memcmp, memcpy, memset

from otus_core import FlowContextRefused

from otus_core.inline.layouts cimport Flow, fill_flow
from otus_core.inline.text cimport ADDRESS_MAX, print_address

from otus_sip.address cimport Address, find_parameter
from otus_sip.description cimport FORMATS_MAX, Description, Medium, Text, next_attribute, next_word
from otus_sip.media cimport Media, is_rtp, read_ip
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport ACK_ID, BYE_ID, CANCEL_ID, FROM, TO, number, same_text
from otus_sip.sessions cimport Event, Sessions
from otus_sip.signalling cimport select_signalling, message_signalling

from otus_sip.sdp import STATIC_CODECS

cdef enum:
    TCP = 6
    UDP = 17
    CALL_ID_SHOWN_MAX = 256     # bytes of a Call-ID in a context
    TAG_MAX = 64                # bytes of a tag in a context
    CANDIDATES_MAX = 32         # ICE candidates of one m= line
    WORD_MAX = 128              # bytes of a word in a context; a longer one is left out
    FORMATS_BYTES_MAX = 1500    # of a line's codecs and format parameters together; what is beyond is left out
    KEYS_MAX = CANDIDATES_MAX + 2
    KNOWN_MAX = 256             # lines whose formats and attributes are known
    KNOWN_TEXT_MAX = 2048       # bytes of one of them

cdef dict _static_codecs = {int(payload_type): name for payload_type, name in STATIC_CODECS.items()}
cdef uint8_t[16] NOWHERE
memset(NOWHERE, 0, 16)


cdef inline str _text(const Text *text):
    return PyUnicode_DecodeUTF8(<const char *>text.start, text.size, b"replace")


cdef tuple _ends_of(bytes flow):
    """Give source address and port, destination address and port of a packed flow key, addresses as text."""
    cdef const Flow *at = <const Flow *>PyBytes_AS_STRING(flow)
    cdef char[ADDRESS_MAX] text
    cdef Py_ssize_t size = print_address(text, at.src, at.version) - text
    src = PyUnicode_DecodeUTF8(text, size, b"replace")
    size = print_address(text, at.dst, at.version) - text
    return src, at.src_port, PyUnicode_DecodeUTF8(text, size, b"replace"), at.dst_port


cdef inline bint _is_named(const Text *value, const char *name, Py_ssize_t size) noexcept nogil:
    return value.size > size and memcmp(value.start, name, size) == 0


cdef inline Text _behind(const Text *value, Py_ssize_t size) noexcept nogil:
    cdef Text rest
    rest.start, rest.size = value.start + size, value.size - size
    return rest


cdef inline void _put_key(Flow *keys, int *count, uint8_t version, uint8_t protocol, const uint8_t *address,
                          uint16_t port) noexcept nogil:
    if version and port and count[0] < KEYS_MAX:
        fill_flow(&keys[count[0]], version, protocol, NOWHERE, 0, address, port)
        count[0] += 1


cdef tuple _loaded = None


cdef tuple _reports():
    """Give what reads reports. It is imported for the first of them: most runs do without."""
    global _loaded
    if _loaded is None:
        from otus_sip.reports import HEADERS, read_report

        _loaded = (read_report, HEADERS)
    return _loaded


@cython.final
cdef class Announced:
    """``flows`` is the task's registry; ``ttl`` is in seconds."""

    def __cinit__(self, flows, ttl):
        self.flows = flows
        self.ttl = ttl
        self.known = {}

    cdef int take(self, object packet, SipMessage message, const Event *event, Sessions sessions, const uint8_t *data,
                  const Description *found, bytes media) except -1:
        """Take a message that ``sessions`` has taken: it has a description, or may have ended its call."""
        cdef bint answer
        if media is not None:
            answer = sessions.answered or (not sessions.offered and (event.status or event.method == ACK_ID))
            self._announce(packet, PyBytes_FromStringAndSize(<const char *>event.call_id, event.call_id_len),
                           _tag(message, TO if event.status else FROM), _tag(message, FROM if event.status else TO),
                           answer, data, found, media)
        elif event.status >= 300 or (not event.status and (event.method == BYE_ID or event.method == CANCEL_ID)):
            if sessions.calls.find(event.hashed, event.call_id, event.call_id_len) is None:
                self.flows.end(PyBytes_FromStringAndSize(<const char *>event.call_id, event.call_id_len))
        return 0

    cdef int report(self, SipMessage message, bint ends) except -1:
        """Tell what a message reports of media, if it does; that concerns no endpoint. ``ends``: it is a BYE or the
        response to one.
        """
        cdef dict fields = {}
        cdef object read
        cdef object headers
        read, headers = _reports()
        if ends:
            fields = select_signalling(message, headers)
            if not fields:
                return 0
        found = read(message, message_signalling(message), fields)
        if found is not None:
            self.flows.announce((), found[1], found[0], self.ttl)
        return 0

    cdef int _announce(self, object packet, bytes call_id, str tag, str peer_tag, bint answer, const uint8_t *data,
                       const Description *found, bytes media) except -1:
        """Announce the lines of a description; ``media`` is what ``scan_media`` made of it."""
        cdef Flow[KEYS_MAX] keys
        cdef int count
        cdef int i
        cdef Py_ssize_t lines = PyBytes_GET_SIZE(media) // <Py_ssize_t>sizeof(Media)
        cdef const Media *settled = <const Media *>PyBytes_AS_STRING(media)
        cdef const Medium *line
        cdef dict context
        cdef str shown = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(call_id),
                                              min(PyBytes_GET_SIZE(call_id), CALL_ID_SHOWN_MAX), b"replace")
        cdef str keying = _session_keying(data, found)
        for i in range(min(found.count, lines)):
            line = &found.media[i]
            if line.port <= 0 or not is_rtp(&line.protocol):
                continue
            count = 0
            _endpoints(&settled[i], answer, keys, &count)
            context = self._said(line, &settled[i], keys, &count)
            if not count:
                continue
            context["call_id"] = shown
            context["role"] = "answer" if answer else "offer"
            context["line"] = i
            if tag:
                context["tag"] = tag
            if peer_tag:
                context["peer_tag"] = peer_tag
            _describe(context, line)
            if keying and "keying" not in context:
                context["keying"] = keying
            self._line(packet, context, call_id, PyBytes_FromStringAndSize(<const char *>keys, count * sizeof(Flow)))
        return 0

    cdef dict _said(self, const Medium *line, const Media *media, Flow *keys, int *count):
        """Give a context with what a line says in every call of a phone, which is kept; what each call has of its own
        is still ``None``.
        """
        cdef bytes text = _said_by(line)
        cdef dict read
        if text is not None:
            known = self.known.get(text)
            if known is not None:
                return (<dict>known).copy()
        # Places for what is filled in later, so that a copy need not grow
        read = dict.fromkeys(("call_id", "role", "line", "port", "rtcp_port", "signalling"))
        _read_line(read, line, media)
        _read_attributes(read, line, keys, count)
        if text is not None and "ice" not in read:      # candidates are not in what is kept
            if len(self.known) >= KNOWN_MAX:
                self.known.clear()
            self.known[text] = read.copy()
        return read

    cdef int _line(self, object packet, dict context, bytes call_id, bytes keys) except -1:
        """Announce one line. Where the same is said at the next hop, what was seen first stays: it was nearer to the
        party.
        """
        before = self.flows.announced(keys, call_id)
        signalling = None
        if type(before) is dict and before.get("tag") == context.get("tag"):
            signalling = before.get("signalling")
        context["signalling"] = _ends_of(packet.flow.packed()) if signalling is None else signalling
        try:
            self.flows.announce(keys, context, call_id, self.ttl)
        except FlowContextRefused:      # of several fields that are long and not ASCII
            short = {name: context[name] for name in ("role", "line", "port")}
            self.flows.announce(keys, short, call_id, self.ttl)
        return 0


cdef bytes _said_by(const Medium *line):
    """Give the text of a line without its port, and of its attributes; ``None`` where that is too long to be kept."""
    cdef Py_ssize_t rest = line.attributes.start + line.attributes.size - line.formats.start
    cdef Py_ssize_t size = rest + line.direction.size + line.kind.size + line.protocol.size + 2
    cdef bytes text
    cdef char *at
    if rest <= 0 or size > KNOWN_TEXT_MAX:
        return None
    text = PyBytes_FromStringAndSize(NULL, size)
    at = _put(PyBytes_AS_STRING(text), &line.direction)     # eight letters; it may be the session's
    at = _put(at, &line.kind)
    at[0] = 10                  # ends a word, since none has it
    at = _put(at + 1, &line.protocol)
    at[0] = 10
    memcpy(at + 1, line.formats.start, rest)
    return text


cdef inline char *_put(char *at, const Text *text) noexcept nogil:
    memcpy(at, text.start, text.size)
    return at + text.size


cdef str _tag(SipMessage message, int header):
    """Give the tag in From or To, cut where it is far too long; empty for none."""
    cdef const uint8_t *tag = NULL
    cdef Py_ssize_t length = 0
    cdef const Address *found = message.party(header)
    if found != NULL and found.parameters_len > 0:
        find_parameter(found.parameters, found.parameters_len, b"tag", 3, &tag, &length)
    return message.text(tag, min(length, TAG_MAX)) if length > 0 else ""


cdef void _endpoints(const Media *media, bint answer, Flow *keys, int *count) noexcept nogil:
    """Give where RTP is expected, and RTCP: with a=rtcp-mux in an offer there too, since the answer may decline it."""
    cdef uint8_t protocol = TCP if media.over_tcp else UDP
    if not media.version:
        return
    _put_key(keys, count, media.version, protocol, media.address, media.port)
    if not (media.mux and answer):
        _put_key(keys, count, media.rtcp_version, protocol, media.rtcp_address, media.rtcp_port)


cdef int _describe(dict context, const Medium *line) except -1:
    """Put down where a line's RTP and RTCP are to go, as it is written."""
    context["port"] = line.port
    context["rtcp_port"] = line.rtcp_port or min(line.port + 1, 65535)
    if 0 < line.address.size <= WORD_MAX:
        context["address"] = _text(&line.address)
    if 0 < line.rtcp_address.size <= WORD_MAX:
        context["rtcp_address"] = _text(&line.rtcp_address)
    return 0


cdef int _read_line(dict context, const Medium *line, const Media *media) except -1:
    """Put down what the m= line says beside its port."""
    cdef Text text
    context["rtcp_mux"] = bool(line.rtcp_mux)
    context["direction"] = _text(&line.direction)
    if line.kind.size <= WORD_MAX:
        context["media"] = _text(&line.kind)
    if line.protocol.size <= WORD_MAX:
        context["profile"] = _text(&line.protocol)
    if media.codec_len:
        text.start, text.size = media.codec, media.codec_len
        context["codec"] = _text(&text)
    return 0


cdef int _read_attributes(dict context, const Medium *line, Flow *keys, int *count) except -1:
    """Put down what the line's attributes say, and its ICE candidates among the endpoints."""
    cdef Text rest = line.attributes
    cdef Text value
    cdef dict names = {}
    cdef dict fmtp = {}
    cdef Py_ssize_t budget = FORMATS_BYTES_MAX
    cdef Py_ssize_t ptime
    cdef int candidates = 0
    while next_attribute(&rest, &value):
        if _is_named(&value, b"rtpmap:", 7):
            _put_format(names, _behind(&value, 7), &budget)
        elif _is_named(&value, b"fmtp:", 5):
            _put_format(fmtp, _behind(&value, 5), &budget)
        elif _is_named(&value, b"candidate:", 10):
            if candidates < CANDIDATES_MAX:
                _put_candidate(_behind(&value, 10), keys, count)
                candidates += 1
            context["ice"] = True
        elif _is_named(&value, b"ptime:", 6):
            ptime = number(value.start + 6, min(value.size - 6, 5))
            if ptime > 0:
                context["ptime"] = ptime
        elif _is_named(&value, b"crypto:", 7):
            context["keying"] = "sdes"
        elif _is_named(&value, b"fingerprint:", 12):
            context["keying"] = "dtls"
        elif _is_named(&value, b"zrtp-hash:", 10) and "keying" not in context:
            context["keying"] = "zrtp"
    context["codecs"] = _codecs(line, names)
    if fmtp:
        context["fmtp"] = fmtp
    return 0


cdef dict _codecs(const Medium *line, dict names):
    """Name the formats in their order: by rtpmap, or by RFC 3551."""
    cdef Text rest = line.formats
    cdef Text word = next_word(&rest)
    cdef dict codecs = {}
    cdef Py_ssize_t payload_type
    cdef int seen = 0
    while word.size and seen < FORMATS_MAX:
        payload_type = _payload_type(&word)
        name = names.get(payload_type) or _static_codecs.get(payload_type)
        if name is not None:
            codecs[payload_type] = name
        word = next_word(&rest)
        seen += 1
    return codecs


cdef Py_ssize_t _payload_type(const Text *word) noexcept nogil:
    cdef Py_ssize_t n = number(word.start, word.size) if 1 <= word.size <= 3 else -1
    return n if n <= 127 else -1


cdef int _put_format(dict formats, Text rest, Py_ssize_t *budget) except -1:
    """``0 PCMU/8000`` or ``101 0-15``: payload type, and what is said of it."""
    cdef Text word = next_word(&rest)
    cdef Py_ssize_t payload_type = _payload_type(&word)
    while rest.size and (rest.start[0] == 32 or rest.start[0] == 9):
        rest.start += 1
        rest.size -= 1
    if payload_type < 0 or rest.size == 0 or rest.size + 8 > budget[0]:
        return 0
    budget[0] -= rest.size + 8
    formats[payload_type] = _text(&rest)
    return 0


cdef void _put_candidate(Text rest, Flow *keys, int *count) noexcept nogil:
    """``1 1 UDP 2130706431 192.0.2.1 4000 typ host`` (RFC 8839 §5.1): component 1 is RTP, 2 RTCP. Names and TCP are
    left out.
    """
    cdef uint8_t[16] address
    cdef uint8_t version
    cdef Py_ssize_t port
    cdef Text component
    cdef Text transport
    cdef Text where
    cdef Text word
    next_word(&rest)
    component = next_word(&rest)
    transport = next_word(&rest)
    next_word(&rest)
    where = next_word(&rest)
    word = next_word(&rest)
    if component.size != 1 or not 49 <= component.start[0] <= 50:
        return
    if transport.size != 3 or not same_text(transport.start, b"udp", 3):
        return
    port = number(word.start, word.size) if 0 < word.size <= 5 else -1
    memset(address, 0, 16)
    version = read_ip(&where, address)
    if 0 < port <= 65535:
        _put_key(keys, count, version, UDP, address, <uint16_t>port)


cdef str _session_keying(const uint8_t *data, const Description *found):
    """Tell how keys are agreed on where the session part says so for all lines."""
    cdef Text rest
    cdef Text value
    if not found.count or found.media[0].kind.start == NULL:
        return ""
    rest.start, rest.size = data, found.media[0].kind.start - data
    while next_attribute(&rest, &value):
        if _is_named(&value, b"fingerprint:", 12):
            return "dtls"
    return ""
