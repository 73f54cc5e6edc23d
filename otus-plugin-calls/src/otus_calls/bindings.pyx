"""Registrations (RFC 3261 §10): what each contact of an address of record did at a registrar.

In: what REGISTER requests and their responses say, in the worker that owns the address of record. Out: registrations
that have expired, were removed, or failed for good.
"""

from collections import OrderedDict
from heapq import heapify, heappop, heappush

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp, memcpy

from otus_core.inline.layouts cimport Flow
from otus_core.inline.signalling cimport Signalling, unpack_signalling

from otus_calls.note cimport Heard
from otus_calls.said cimport Said, first_contact, granted_to, read_said, said_aor, said_seconds

from otus_calls.registrations import DUPLICATE_NS, SETTLE_NS, TEXT_MAX, source_of

cdef enum:
    PENDING_MAX = 65536
    LEFT_OVER_MAX = 64          # entries that may be left over in the queue beside two for each registration

cdef int64_t _SETTLE = SETTLE_NS
cdef int64_t _DUPLICATE = DUPLICATE_NS
cdef int64_t _SECOND = 1_000_000_000
cdef int64_t _NEVER = <int64_t>0x7FFFFFFFFFFFFFFF
cdef Py_ssize_t _TEXT_MAX = TEXT_MAX


@cython.final
@cython.no_gc
cdef class Binding:
    """One registration; times in ns since 1970, 0 for what was not seen; numbers that were not said are -1."""

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

    def __init__(self, Py_ssize_t most, failed):
        self.most = most
        self.failed = failed
        self.queue = []
        self.users = {}
        self.bindings = OrderedDict()
        self.pending = OrderedDict()

    @property
    def queue_size(self):
        """Entries in the queue, those too that are left over."""
        return len(self.queue)

    def take(self, int64_t at, bytes flow not None, bytes said not None, bytes fields not None):
        """Take a message, as ``otus_core.inline`` has its flow, its signalling and its header fields; gives the
        registration that has no room any more, if there is one.
        """
        cdef Heard heard
        heard.time = at
        heard.flow = <const Flow *>PyBytes_AS_STRING(flow)
        heard.head = unpack_signalling(said, heard.texts)
        heard.fields, heard.fields_len = PyBytes_AS_STRING(fields), <uint32_t>PyBytes_GET_SIZE(fields)
        return self.hear(&heard)

    cdef object hear(self, const Heard *heard):
        """Do the same."""
        cdef const Signalling *head = heard.head
        cdef char *at
        cdef bytes key
        cdef Said what
        if 0 < head.status < 200:
            return None
        read_said(heard.fields, heard.fields_len, &what)
        key = PyBytes_FromStringAndSize(NULL, head.call_id + sizeof(head.cseq))
        at = PyBytes_AS_STRING(key)
        memcpy(at, heard.texts[0], head.call_id)
        memcpy(at + head.call_id, &head.cseq, sizeof(head.cseq))
        if head.status == 0:
            return self._ask(heard, key, &what)
        self._answer(heard.time, heard.flow, key, head.status, &what)
        return None

    cdef object _ask(self, const Heard *heard, bytes request, Said *what):
        cdef Pending before = <Pending>self.pending.get(request)
        cdef Binding one
        cdef int64_t at = heard.time
        if before is not None:
            if memcmp(PyBytes_AS_STRING(before.flow), heard.flow, sizeof(Flow)) == 0:
                if at - before.at <= _DUPLICATE:        # a second hop has other ends, and is neither
                    before.one.duplicates += 1
                else:
                    before.one.retransmissions += 1
            return None
        one = self._binding(heard, what)
        if one is None:
            return None
        one.flow = PyBytes_FromStringAndSize(<const char *>heard.flow, sizeof(Flow))
        one.last, one.asked = at, at
        if what.agent_len:
            one.agent = PyBytes_FromStringAndSize(what.agent, min(what.agent_len, _TEXT_MAX))
        if not (one.challenged and what.proof):     # else the same attempt, now with credentials
            one.attempts += 1
            one.attempt = at
        one.had_proof, one.challenged = what.proof, False
        self._wait(one, at)
        before = Pending.__new__(Pending)
        before.one, before.at, before.flow = one, at, one.flow
        self.pending[request] = before
        if len(self.pending) > PENDING_MAX:
            self.pending.popitem(last=False)
        return self._remove(<Binding>next(iter(self.bindings.values()))) if len(self.bindings) > self.most else None

    cdef Binding _binding(self, const Heard *heard, Said *what):
        """Give the registration that a request is about, ``None`` where it names nobody."""
        cdef bytes aor = said_aor(what)
        cdef bytes contact
        cdef bytes key
        cdef int64_t expires
        cdef Binding one
        if not aor:
            return None
        contact, expires = first_contact(what)
        if expires < 0:
            expires = said_seconds(what.expires, what.expires_len)
        key = _key_of(aor, contact, heard.flow)
        one = <Binding>self.bindings.get(key)
        if one is None:
            one = Binding.__new__(Binding)
            one.key, one.aor, one.contact = key, aor, contact
            one.call_id = PyBytes_FromStringAndSize(heard.texts[0], heard.head.call_id)
            one.first, one.requested, one.expires = heard.time, -1, -1
            self._add(one)
        else:
            self.bindings.move_to_end(key)
        if expires >= 0:
            one.requested = expires
        return one

    cdef int _wait(self, Binding one, int64_t at) except -1:
        return self._expect(one, max(one.due, at + _SETTLE))

    cdef int _expect(self, Binding one, int64_t due) except -1:
        """Nothing more is to be expected of a registration from ``due`` on. One that is due later than before keeps its
        place in the queue, and gets another one when its turn comes.
        """
        one.due = due
        if due < one.turn:
            self._enqueue(one)
        return 0

    cdef int _enqueue(self, Binding one) except -1:
        one.turn = one.due
        self.queued += 1
        heappush(self.queue, (one.turn, self.queued, one))
        if len(self.queue) > 2 * len(self.bindings) + LEFT_OVER_MAX:    # most of them are left over
            self.queue = [((<Binding>each).turn, n, each) for n, each in enumerate(self.bindings.values())]
            self.queued = len(self.queue)
            heapify(self.queue)
        return 0

    cdef int _add(self, Binding one) except -1:
        one.turn = _NEVER
        one.after = <Binding>self.users.get(one.aor)
        if one.after is not None:
            one.after.before = one
        self.users[one.aor] = self.bindings[one.key] = one
        return 0

    cdef Binding _remove(self, Binding one):
        cdef Binding before = one.before
        cdef Binding after = one.after
        one.before = one.after = None
        if after is not None:
            after.before = before
        if before is not None:
            before.after = after
        elif after is not None:
            self.users[one.aor] = after
        else:
            del self.users[one.aor]
        del self.bindings[one.key]
        return one

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
            return self._expect(one, at + _SETTLE)
        granted = granted_to(one.contact, what)
        if granted < 0:
            granted = said_seconds(what.expires, what.expires_len)
        if granted < 0:
            granted = one.requested if one.requested >= 0 else 3600
        one.refreshes += one.registered_at > 0 and not one.removed
        one.removed = False
        one.registered_at = at
        one.expires = granted
        return self._expect(one, at + granted * _SECOND + _SETTLE)

    def mark_scan(self, str aor not None):
        """The source of this address of record tries many."""
        cdef Binding one = <Binding>self.users.get(aor.encode("utf-8", "surrogatepass"))
        while one is not None:
            self.looks += 1
            one.scan = True
            one = one.after

    def due(self, int64_t now):
        """Take out and give those of which nothing more is to be expected by ``now``, the soonest first."""
        cdef Binding one
        cdef list found = []
        while self.queue and self.queue[0][0] <= now:
            turn, _, one = heappop(self.queue)
            self.looks += 1
            if turn != one.turn or self.bindings.get(one.key) is not one:
                continue        # it was due sooner after all, or is gone
            if one.due <= now:
                found.append(self._remove(one))
            else:
                self._enqueue(one)
        return found

    def all(self):
        """Take out and give all."""
        self.queue.clear()
        return [self._remove(<Binding>one) for one in list(self.bindings.values())]


cdef bytes _key_of(bytes aor, bytes contact, const Flow *flow):
    """Give an address of record, a contact and a registrar as one."""
    cdef Py_ssize_t aor_len = PyBytes_GET_SIZE(aor) + 1         # with the zero behind them
    cdef Py_ssize_t contact_len = PyBytes_GET_SIZE(contact) + 1
    cdef bytes key = PyBytes_FromStringAndSize(NULL, aor_len + contact_len + sizeof(flow.dst) + sizeof(flow.dst_port))
    cdef char *at = PyBytes_AS_STRING(key)
    memcpy(at, PyBytes_AS_STRING(aor), aor_len)
    memcpy(at + aor_len, PyBytes_AS_STRING(contact), contact_len)
    at += aor_len + contact_len
    memcpy(at, flow.dst, sizeof(flow.dst))
    memcpy(at + sizeof(flow.dst), &flow.dst_port, sizeof(flow.dst_port))
    return key


def aor_in(bytes fields not None):
    """Give the address of record that header fields name, empty where they name none."""
    cdef Said what
    read_said(PyBytes_AS_STRING(fields), PyBytes_GET_SIZE(fields), &what)
    return said_aor(&what)
