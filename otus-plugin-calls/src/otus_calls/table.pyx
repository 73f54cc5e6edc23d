"""The calls that are under way: which call a message belongs to, and when one is to be reported.

A call is a Call-ID and the From tag of its first INVITE: one Call-ID may stand for several calls, of which messages
cross each other, where a server that calls on keeps it.
"""

import os
from operator import attrgetter

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.string cimport memcmp, memcpy, memmove

from otus_core.inline.hashing cimport fold, keyed_hash
from otus_core.inline.signalling cimport BYE, INVITE, Signalling
from otus_core.inline.tables cimport append, chain, close_buckets, leave, open_buckets, unchain

from otus_calls.transitions import TIMER_B_NS

from otus_calls.note cimport Heard, note_size, prefetch, text_of, write_note
from otus_calls.replay cimport replay

cdef enum:
    SHOWN_BEGUN = 1
    SHOWN_ENDED = 2
    SHOWN_MAX = 2048            # calls that are shown at a tick; others wait for the next
    PAST_MAX = 256              # calls in a row that were looked at before: so are those behind them
    GONE = 1 << 17              # Call-IDs of calls that were reported, so that what comes late begins none
    KEPT_FIRST = 4              # of so many messages that are kept, one is among the newest
    NOTE_BYTES = 1024           # that a message may take on average
    ROOM_FIRST = 8                  # for messages, at first: as many as an ordinary call has

cdef object BEGINNING = attrgetter("first")
cdef int64_t SETTLED_NS = 2_000_000_000     # messages of other workers have arrived by then
cdef int64_t _TIMER_B = TIMER_B_NS
cdef int64_t _NEVER = <int64_t>0x7FFFFFFFFFFFFFFF


@cython.final
@cython.no_gc               # it holds no other calls
cdef class Call:
    """One call and what is known of it."""

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.count):
            PyMem_Free(self.notes[i])
        PyMem_Free(self.notes)
        PyMem_Free(self.name)

    @property
    def call_id(self):
        return self.name[:self.id_size]

    @property
    def from_tag(self):
        return (self.name + self.id_size)[:self.tag_size]

    @property
    def messages(self):
        return self.count + self.cut

    @property
    def settled(self):
        """Whether the search for legs was shown how it ended."""
        return self.shown == SHOWN_ENDED

    cdef Packed *_add_note(self, Py_ssize_t size, uint32_t most) except NULL:
        """Give memory for a note of this size, the newest; beyond the bounds the middle gives way, because beginning
        and end tell what became of a call.
        """
        cdef Packed *note
        cdef void *grown
        while self.count >= most or (self.used + size > most * NOTE_BYTES and self.count > KEPT_FIRST):
            self._give_way()
        if self.count == self.room:
            grown = PyMem_Realloc(self.notes, (self.room * 2 or ROOM_FIRST) * sizeof(Packed *))
            if grown == NULL:
                raise MemoryError
            self.notes = <Packed **>grown
            self.room = self.room * 2 or ROOM_FIRST
        note = <Packed *>PyMem_Malloc(size)
        if note == NULL:
            raise MemoryError
        self.notes[self.count] = note
        self.count += 1
        self.used += <uint32_t>size
        return note

    cdef int _give_way(self) noexcept:
        """Give up one message."""
        cdef uint32_t at = self.count - self.count // KEPT_FIRST
        self.used -= self.notes[at].span
        PyMem_Free(self.notes[at])
        self.count -= 1
        memmove(&self.notes[at], &self.notes[at + 1], (self.count - at) * sizeof(Packed *))
        self.cut += 1
        return 0

    def outcome_by(self, int64_t now):
        """Give what became of it by ``now``, in ns since 1970."""
        return replay(self, now)

    def __repr__(self):
        return f"<Call {self.call_id!r}, {self.messages} messages>"


@cython.final
cdef class Table:
    """Calls by Call-ID and tag. ``most`` calls at a time, ``notes_most`` messages of each; times in ns."""

    def __cinit__(self, *, most, notes_most, linger, ring_timeout, talk_timeout):
        open_buckets(&self.known, most)
        open_buckets(&self.named, most)
        self.gone = <uint64_t *>PyMem_Calloc(GONE, sizeof(uint64_t))
        if self.gone == NULL:
            raise MemoryError
        memcpy(self.secret, PyBytes_AS_STRING(os.urandom(16)), 16)
        self.most = most
        self.notes_most = notes_most
        self.soonest = _NEVER
        self.linger = linger
        self.ring_timeout = ring_timeout
        self.talk_timeout = talk_timeout

    def __dealloc__(self):
        cdef void *call = self.order.oldest
        cdef void *newer
        while call != NULL:
            newer = (<Call>call).age.newer
            Py_DECREF(<Call>call)
            call = newer
        close_buckets(&self.known)
        close_buckets(&self.named)
        PyMem_Free(self.gone)

    def __len__(self):
        return self.count

    cdef void expect(self, const Heard *heard) noexcept:
        """Have the memory fetched where the call of a message is found, because ``take`` follows soon: with thousands
        of calls up, waiting for memory is most of what finding one takes.
        """
        self.id_hash = keyed_hash(self.secret, heard.texts[0], heard.head.call_id)
        self.both_hash = _with_tag(self.secret, self.id_hash, heard.texts[1], heard.head.from_tag)
        prefetch(&self.known.at[self.both_hash & self.known.mask])

    cdef void near(self) noexcept:
        """Do so with the call itself."""
        cdef void *at = self.known.at[self.both_hash & self.known.mask]
        if at != NULL:
            prefetch(&(<Call>at).name)
            prefetch(&(<Call>at).hash)

    cdef int take(self, const Heard *heard) except -1:
        """Put a message, which was expected, with its call, unless it belongs to none and begins none. Requests go both
        ways, so either tag may be the caller's.
        """
        cdef const Signalling *said = heard.head
        cdef Call call = self._find(self.both_hash, heard, heard.texts[1], said.from_tag)
        cdef bint by_caller = True
        cdef Packed *note
        cdef Py_ssize_t size
        if call is None:
            call = self._find(_with_tag(self.secret, self.id_hash, heard.texts[2], said.to_tag), heard, heard.texts[2],
                              said.to_tag)
            by_caller = False
        if call is None:
            if said.status or said.method != INVITE or said.to_tag:
                if (said.method != INVITE and (said.status or said.method != BYE)
                        or self.gone[self.id_hash % GONE] == self.id_hash):
                    return 0
            by_caller = True
            call = self._begin(heard)
        size = note_size(heard)
        try:
            note = call._add_note(size, self.notes_most)
        except MemoryError:
            if not call.count:          # of a call without a message nothing could be told
                self.remove(call)
            raise
        write_note(note, heard, size)
        note.by_caller = by_caller
        if heard.time > call.last:
            call.last = heard.time
        self._advance(call, note)
        if <void *>call != self.order.newest:
            leave(&self.order, <void *>call, &call.age)
            append(&self.order, <void *>call, &call.age)
        return 0

    cdef Call _find(self, uint64_t hash, const Heard *heard, const char *tag, Py_ssize_t tag_len):
        cdef void *at = self.known.at[hash & self.known.mask]
        while at != NULL:
            if (<Call>at).hash == hash and _is(<Call>at, heard.texts[0], heard.head.call_id, tag, tag_len):
                return <Call>at
            at = (<Call>at).next
        return None

    cdef Call _begin(self, const Heard *heard):
        cdef const Signalling *said = heard.head
        cdef Call call = Call.__new__(Call)
        call.name = <char *>PyMem_Malloc(said.call_id + said.from_tag)
        if call.name == NULL:
            raise MemoryError
        call.id_size, call.tag_size = said.call_id, said.from_tag
        memcpy(call.name, heard.texts[0], said.call_id)
        memcpy(call.name + said.call_id, heard.texts[1], said.from_tag)
        call.first = call.last = heard.time
        call.id_hash = self.id_hash
        call.hash = self.both_hash
        chain(&self.known.at[call.hash & self.known.mask], <void *>call, &call.next)
        self._name(call, &self.named.at[call.id_hash & self.named.mask])
        append(&self.order, <void *>call, &call.age)
        call.listed = True
        Py_INCREF(call)         # the table's own
        self.count += 1
        return call

    cdef int _name(self, Call call, void **bucket) noexcept:
        """Put a call before the others in a bucket of Call-IDs."""
        call.namesake = bucket[0]
        call.named_by = bucket
        if call.namesake != NULL:
            (<Call>call.namesake).named_by = &call.namesake
        bucket[0] = <void *>call
        return 0

    cdef int _advance(self, Call call, const Packed *note) noexcept:
        """Say how long the call is waited for; what became of it is told by ``replay`` alone."""
        cdef int64_t wait
        if note.method == BYE:
            call.phase = OVER
        elif note.method == INVITE and call.phase != TALKING and note.by_caller:
            if note.status == 0 and not note.to_tag:
                call.phase = CALLING
            elif 100 < note.status < 200 and call.phase == CALLING:
                call.phase = RINGING
            elif 200 <= note.status < 300:
                call.phase = TALKING
            elif note.status >= 300 and call.phase != OVER:
                call.phase = OVER
        elif note.method != INVITE and call.phase == CALLING and note.to_tag and note.status == 0:
            call.phase = TALKING            # it began before the capture
        if call.phase == OVER:
            wait = self.linger
        elif call.phase == TALKING:
            wait = self.talk_timeout
        else:
            wait = self.ring_timeout if call.phase == RINGING or note.status else _TIMER_B
        call.due = note.time + wait
        if call.due < self.soonest:
            self.soonest = call.due
        return 0

    def of(self, bytes call_id not None, Py_ssize_t most, bytes tag=None):
        """Give the newest ``most`` calls with a Call-ID, or those of them with this tag in From."""
        cdef uint64_t hash = keyed_hash(self.secret, PyBytes_AS_STRING(call_id), PyBytes_GET_SIZE(call_id))
        cdef void *at = self.named.at[hash & self.named.mask]
        cdef list calls = []
        while at != NULL and len(calls) < most:
            if (<Call>at).id_hash == hash and (<Call>at).call_id == call_id:
                calls.append(<Call>at)
            at = (<Call>at).namesake
        calls.reverse()         # the newest stands first in its bucket
        return calls if tag is None else [one for one in calls if (<Call>one).from_tag == tag]

    def lose(self, Call call not None, int64_t until):
        """Report a call that talks at ``until`` if nothing more comes: its media have ended, and no BYE was seen."""
        if call.phase == TALKING:
            call.due = until
            if call.due < self.soonest:
                self.soonest = call.due

    def surplus(self):
        """Take out and give the call that has been silent longest, if there are more than there may be."""
        if self.count <= self.most:
            return None
        found = <Call>self.order.oldest
        self.remove(found)
        return found

    cpdef int remove(self, Call call) except -1:
        """Forget a call."""
        if not call.listed:
            return 0
        unchain(&self.known.at[call.hash & self.known.mask], <void *>call, &call.next)
        call.named_by[0] = call.namesake
        if call.namesake != NULL:
            (<Call>call.namesake).named_by = call.named_by
        leave(&self.order, <void *>call, &call.age)
        call.listed = False
        self.count -= 1
        self.gone[call.id_hash % GONE] = call.id_hash
        Py_DECREF(call)
        return 0

    def due(self, int64_t now):
        """Give the calls that are to be reported by ``now``."""
        cdef void *at = self.order.oldest
        cdef list found = []
        if now < self.soonest:
            return found
        self.soonest = _NEVER
        while at != NULL:
            if (<Call>at).due <= now:
                found.append(<Call>at)
            elif (<Call>at).due < self.soonest:
                self.soonest = (<Call>at).due
            at = (<Call>at).age.newer
        if found:
            self.soonest = now              # until they are taken out
        return found

    def news(self, int64_t now):
        """Give the calls of which there is something new to be shown: they have begun, or have ended, a while ago."""
        cdef void *at = self.order.newest
        cdef Call call
        cdef list found = []
        cdef int64_t until = self.looked - SETTLED_NS
        cdef int past = 0
        self.looked = now - SETTLED_NS
        while at != NULL and past < PAST_MAX:
            call = <Call>at
            if len(found) == SHOWN_MAX:
                self.looked = 0             # there are more: all are looked at the next time
                break
            if call.shown < SHOWN_ENDED and now - call.last > SETTLED_NS and (call.phase == OVER or not call.shown):
                call.shown = SHOWN_ENDED if call.phase == OVER else SHOWN_BEGUN
                found.append(call)
                past = 0
            elif call.last < until:
                past += 1
            at = call.age.older
        return found

    def unseen(self):
        """Give the calls of which the search for legs would learn something more, in the order of their beginning."""
        cdef void *at = self.order.oldest
        cdef Call call
        cdef list found = []
        while at != NULL:
            call = <Call>at
            # Of one that it knows, only how it ended is new; and its legs tell who sends media in it.
            if not call.shown or (call.phase == OVER and call.shown != SHOWN_ENDED) or (call.streams and call.legs):
                found.append(call)
            at = call.age.newer
        found.sort(key=BEGINNING)
        return found

    def calls(self):
        """Give all calls, the one that has been silent longest first."""
        cdef void *at = self.order.oldest
        cdef list found = []
        while at != NULL:
            found.append(<Call>at)
            at = (<Call>at).age.newer
        return found


cdef inline bint _is(Call call, const char *call_id, Py_ssize_t id_size, const char *tag, Py_ssize_t tag_size) noexcept:
    return (call.id_size == id_size and call.tag_size == tag_size and memcmp(call.name, call_id, id_size) == 0
            and memcmp(call.name + id_size, tag, tag_size) == 0)


cdef inline uint64_t _with_tag(const uint64_t *secret, uint64_t id_hash, const char *tag, Py_ssize_t size) noexcept:
    return fold(id_hash, keyed_hash(secret, tag, size) | 1)
