"""Registrations (RFC 3261 §10): what each contact of an address of record did at a registrar.

In: what REGISTER requests and their responses say, in the worker that owns the address of record. Out: registrations
that have expired, were removed, or failed for good.
"""

from collections import OrderedDict

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp

from otus_core.inline.layouts cimport Flow
from otus_core.inline.signalling cimport FieldHead, Signalling, next_field

from otus_calls.registrations import (
    DUPLICATE_NS, SETTLE_NS, TEXT_MAX, aor_of, contacts_of, expires_of, number_of, source_of,
)

cdef enum:
    PENDING_MAX = 65536
    CONTACTS_MAX = 8192         # bytes of a Contact that are read

cdef int64_t _SETTLE = SETTLE_NS
cdef int64_t _DUPLICATE = DUPLICATE_NS
cdef int64_t _SECOND = 1_000_000_000
cdef int64_t _NEVER = <int64_t>0x7FFFFFFFFFFFFFFF
cdef Py_ssize_t _TEXT_MAX = TEXT_MAX


# What the header fields of a message say that matters here: pieces of them, NULL for what is not there.
cdef struct Said:
    const char *to
    const char *contact
    const char *expires
    const char *agent
    Py_ssize_t to_len, contact_len, expires_len, agent_len
    const char *fields          # all of them
    const char *end
    FieldHead head
    bint more                   # there are further fields with contacts
    bint proof                  # it has credentials
    bint stale                  # its challenge says that the nonce was merely stale


@cython.final
@cython.no_gc
cdef class Binding:
    """One registration; times in ns since 1970, 0 for what was not seen; numbers that were not said are -1."""

    cdef readonly bytes key
    cdef readonly bytes aor
    cdef readonly bytes contact
    cdef readonly bytes flow            # of the newest request
    cdef readonly bytes call_id
    cdef readonly bytes agent           # or None
    cdef readonly int64_t first, last, due, registered_at, asked, attempt
    cdef readonly int64_t requested, expires
    cdef readonly int64_t delay_count, delay_total, delay_most      # of RRD, in ns
    cdef readonly int attempts, challenges, refreshes, successes, failures, ineffective, refused_proofs
    cdef readonly int retransmissions, duplicates, code
    cdef readonly bint removed, had_proof, challenged
    cdef public bint scan

    def state(self, int64_t now):
        """Say how it stands."""
        if self.removed:
            return "unregistered"
        if self.registered_at and self.expires >= 0:
            return "registered" if now < self.registered_at + self.expires * _SECOND else "expired"
        if self.refused_proofs:
            return "wrong_password"
        if self.code in (401, 407):
            return "challenged"
        return "rejected" if self.code else "no_reply"


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Pending:
    """A request that has no final response yet."""

    cdef Binding one
    cdef int64_t at
    cdef bytes flow


@cython.final
cdef class Bindings:
    """The registrations of this worker, at most ``most``. ``failed(source, aor)`` hears of each that a registrar
    refused.
    """

    cdef Py_ssize_t most
    cdef object failed
    cdef int64_t soonest
    cdef object bindings        # by address of record, contact and registrar, the one used last at the end
    cdef object pending         # by Call-ID and CSeq, the newest at the end

    def __init__(self, Py_ssize_t most, failed):
        self.most = most
        self.failed = failed
        self.soonest = _NEVER
        self.bindings = OrderedDict()
        self.pending = OrderedDict()

    def take(self, int64_t at, bytes flow not None, bytes said not None, bytes fields not None):
        """Take a message, as ``otus_core.inline`` has its flow, its signalling and its header fields; gives the
        registration that has no room any more, if there is one.
        """
        cdef const Signalling *head = <const Signalling *>PyBytes_AS_STRING(said)
        cdef const char *call_id = PyBytes_AS_STRING(said) + sizeof(Signalling)
        cdef Said what
        _read(fields, &what)
        key = PyBytes_FromStringAndSize(call_id, head.call_id) + PyBytes_FromStringAndSize(
            <const char *>&head.cseq, sizeof(head.cseq)
        )
        if head.status == 0:
            return self._ask(at, flow, PyBytes_FromStringAndSize(call_id, head.call_id), <bytes>key, &what)
        if head.status >= 200:
            self._answer(at, <const Flow *>PyBytes_AS_STRING(flow), <bytes>key, head.status, &what)
        return None

    cdef object _ask(self, int64_t at, bytes flow, bytes call_id, bytes request, Said *what):
        cdef Pending before = <Pending>self.pending.get(request)
        cdef Binding one
        if before is not None:
            if before.flow == flow:         # a second hop has other ends, and is neither
                if at - before.at <= _DUPLICATE:
                    before.one.duplicates += 1
                else:
                    before.one.retransmissions += 1
            return None
        one = self._binding(at, <const Flow *>PyBytes_AS_STRING(flow), call_id, what)
        if one is None:
            return None
        one.flow, one.last, one.asked = flow, at, at
        if what.agent_len:
            one.agent = PyBytes_FromStringAndSize(what.agent, min(what.agent_len, _TEXT_MAX))
        if not (one.challenged and what.proof):     # else the same attempt, now with credentials
            one.attempts += 1
            one.attempt = at
        one.had_proof, one.challenged = what.proof, False
        self._wait(one, at)
        before = Pending.__new__(Pending)
        before.one, before.at, before.flow = one, at, flow
        self.pending[request] = before
        if len(self.pending) > PENDING_MAX:
            self.pending.popitem(last=False)
        return self.bindings.popitem(last=False)[1] if len(self.bindings) > self.most else None

    cdef Binding _binding(self, int64_t at, const Flow *flow, bytes call_id, Said *what):
        """Give the registration that a request is about, ``None`` where it names nobody."""
        cdef bytes aor = _aor_of(what)
        cdef bytes contact
        cdef bytes registrar = PyBytes_FromStringAndSize(<const char *>flow.dst, 16) + PyBytes_FromStringAndSize(
            <const char *>&flow.dst_port, 2
        )
        cdef int64_t expires
        cdef Binding one
        if not aor:
            return None
        contact, expires = _first_contact(what)
        if expires < 0:
            expires = _number(what.expires, what.expires_len)
        key = b"%b\0%b\0%b" % (aor, contact, registrar)
        one = <Binding>self.bindings.get(key)
        if one is None:
            one = Binding.__new__(Binding)
            one.key, one.aor, one.contact, one.call_id = key, aor, contact, call_id
            one.first, one.requested, one.expires = at, -1, -1
            self.bindings[key] = one
        else:
            self.bindings.move_to_end(key)
        if expires >= 0:
            one.requested = expires
        return one

    cdef int _wait(self, Binding one, int64_t at) except -1:
        one.due = max(one.due, at + _SETTLE)
        self.soonest = min(self.soonest, one.due)
        return 0

    cdef int _answer(self, int64_t at, const Flow *flow, bytes request, int status, Said *what) except -1:
        cdef Pending found = <Pending>self.pending.get(request)
        cdef const Flow *asked
        cdef Binding one
        if found is None:
            return 0
        asked = <const Flow *>PyBytes_AS_STRING(found.flow)
        if flow.dst_port != asked.src_port or memcmp(flow.dst, asked.src, sizeof(flow.dst)) != 0:
            return 0    # RFC 3261 §17.1.3: of the hops, the answer to the source is the one that counts
        del self.pending[request]
        one = found.one
        one.last = max(one.last, at)
        one.code = status
        if status < 300:
            self._register(one, at, what)
        elif status == 401 or status == 407:    # §22: a challenge, or the proof was wrong unless the nonce was stale
            one.challenges += 1
            one.challenged = what.stale or not one.had_proof
            if not one.challenged:
                one.refused_proofs += 1
                self._refuse(one, status)
            self._wait(one, at)
        else:
            if status == 403 and one.had_proof:
                one.refused_proofs += 1
            self._refuse(one, status)
            self._wait(one, at)
        self.soonest = min(self.soonest, one.due)
        return 0

    cdef int _refuse(self, Binding one, int status) except -1:
        one.failures += 1
        one.ineffective += status >= 400 and status != 401 and status != 407
        self.failed(source_of(one.flow), one.aor.decode("utf-8", "replace"))
        return 0

    cdef int _register(self, Binding one, int64_t at, Said *what) except -1:
        cdef int64_t delay = at - one.attempt
        cdef int64_t granted
        one.refused_proofs = 0
        one.successes += 1
        one.delay_count += 1
        one.delay_total += delay
        one.delay_most = max(one.delay_most, delay)
        if one.requested == 0:
            one.removed = True
            one.due = at + _SETTLE
            return 0
        granted = _read_granted(one.contact, what)
        if granted < 0:
            granted = _number(what.expires, what.expires_len)
        if granted < 0:
            granted = one.requested if one.requested >= 0 else 3600
        one.refreshes += one.registered_at > 0 and not one.removed
        one.removed = False
        one.registered_at = at
        one.expires = granted
        one.due = at + granted * _SECOND + _SETTLE
        return 0

    def mark_scan(self, str aor not None):
        """The source of this address of record tries many."""
        cdef bytes wanted = aor.encode("utf-8", "surrogatepass")
        for one in self.bindings.values():
            if (<Binding>one).aor == wanted:
                (<Binding>one).scan = True

    def due(self, int64_t now):
        """Take out and give those of which nothing more is to be expected by ``now``."""
        if now < self.soonest:
            return []
        found = [one for one in self.bindings.values() if (<Binding>one).due <= now]
        for one in found:
            del self.bindings[(<Binding>one).key]
        self.soonest = _NEVER
        for one in self.bindings.values():
            self.soonest = min(self.soonest, (<Binding>one).due)
        return found

    def all(self):
        """Take out and give all."""
        found = list(self.bindings.values())
        self.bindings.clear()
        return found


def aor_in(bytes fields not None):
    """Give the address of record that header fields name, empty where they name none."""
    cdef Said what
    _read(fields, &what)
    return _aor_of(&what)


cdef void _read(bytes fields, Said *what) noexcept:
    """Find what matters in header fields; of those that are there twice the first counts."""
    cdef const char *at = PyBytes_AS_STRING(fields)
    cdef const char *end = at + PyBytes_GET_SIZE(fields)
    cdef FieldHead head
    what.to = what.contact = what.expires = what.agent = NULL
    what.to_len = what.contact_len = what.expires_len = what.agent_len = 0
    what.proof = what.stale = what.more = False
    what.fields, what.end = at, end
    at = next_field(at, end, &head)
    while at != NULL:
        if head.name == 13 or head.name == 19:          # authorization, proxy-authorization
            what.proof = True
        elif head.name == 16 or head.name == 18:        # www-authenticate, proxy-authenticate
            what.stale = what.stale or _says_stale((at + head.name)[:head.value])
        elif head.name == 10:
            _keep(at, &head, &what.agent, &what.agent_len)
        elif at[0] == c"t":
            _keep(at, &head, &what.to, &what.to_len)
        elif at[0] == c"e":
            _keep(at, &head, &what.expires, &what.expires_len)
        else:
            what.more = what.contact != NULL
            _keep(at, &head, &what.contact, &what.contact_len)
        at = next_field(at + head.name + head.value, end, &head)


cdef inline void _keep(const char *at, const FieldHead *head, const char **text, Py_ssize_t *size) noexcept:
    if text[0] == NULL:
        text[0], size[0] = at + head.name, head.value


cdef bint _says_stale(bytes challenge) noexcept:
    return b"stale=true" in challenge.lower().replace(b'"', b"")


cdef bytes _aor_of(Said *what):
    """Give the URI in To without parameters and password (RFC 3261 §10.3 step 5)."""
    cdef const char *at
    cdef const char *end
    cdef Py_ssize_t i
    at = <const char *>memchr(what.to, c"<", what.to_len) if what.to_len else NULL
    if at == NULL or memchr(what.to, 34, at - what.to) != NULL:     # unusual, or a display name in quotes
        return aor_of((what.to)[:what.to_len].decode("utf-8", "replace")).encode("utf-8") if what.to_len else b""
    at += 1
    end = <const char *>memchr(at, c">", what.to_len - (at - what.to))
    if end == NULL:
        end = what.to + what.to_len
    for i in range(min(end - at, _TEXT_MAX)):
        if at[i] == c";" or at[i] == c"?":
            return at[:i]
    return at[:min(end - at, _TEXT_MAX)]


cdef tuple _first_contact(Said *what):
    """Give the URI of the first contact, and what it asks to expire after, in seconds, -1 where it does not say."""
    cdef const char *at
    cdef const char *end
    cdef Py_ssize_t size = min(what.contact_len, CONTACTS_MAX)
    if not size:
        return b"", -1
    if memchr(what.contact, c",", size) == NULL and memchr(what.contact, 34, size) == NULL:
        at = <const char *>memchr(what.contact, c"<", size)
        end = <const char *>memchr(what.contact, c">", size)
        if at != NULL and end > at and memchr(end, c";", size - (end - what.contact)) == NULL:
            return at[1:end - at], -1
    for uri, parameters in contacts_of((what.contact)[:size].decode("utf-8", "replace")):
        return uri.encode("utf-8"), expires_of(parameters)
    return b"", -1


cdef int64_t _read_granted(bytes contact, Said *what) except -2:
    """Give after how many seconds a registrar says that a contact expires, -1 where it does not."""
    cdef int64_t granted = -1
    if not what.contact_len or (not what.more and memchr(what.contact, c";", what.contact_len) == NULL):
        return -1
    wanted = contact.decode("utf-8", "replace")
    for uri, parameters in contacts_of(_contacts(what)):
        if uri == wanted:
            own = expires_of(parameters)
            granted = own if own >= 0 else granted
    return granted


cdef str _contacts(Said *what):
    """Give all contacts, as one list."""
    cdef const char *at = next_field(what.fields, what.end, &what.head)
    cdef list found = []
    while at != NULL:
        if at[0] == c"m" or (at[0] == c"c" and what.head.name == 7):
            found.append((at + what.head.name)[:what.head.value])
        at = next_field(at + what.head.name + what.head.value, what.end, &what.head)
    return b", ".join(found)[:CONTACTS_MAX].decode("utf-8", "replace")


cdef int64_t _number(const char *text, Py_ssize_t size) except -2:
    """Read seconds; -1 for what is no number of at most nine digits."""
    return number_of(text[:size].decode("utf-8", "replace")) if size else -1
