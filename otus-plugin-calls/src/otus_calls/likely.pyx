"""Which calls may be legs of one that is new: an index by hashes, so that only those few are compared.

Likeness alone is worth at most 85, so of its five pieces of evidence four are needed: one of the two users is always
the same, and the calls have a host in common. What is stronger than likeness is found by its own value.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy, memset

from otus_core.inline.hashing cimport fold, keyed_hash
from otus_core.inline.signalling cimport INVITE, FieldHead, next_field

from otus_calls.parties import TAIL, read_party, sessions_of, user_key

from otus_calls.note cimport Packed, body_of, fields_of, prefetch
from otus_calls.table cimport Call

cdef enum:
    CALLS = 16384               # that are remembered; a power of two
    ENTRIES = 131072            # eight values of each call, more of some
    HEADS = 65536
    SAME_MAX = 32               # calls that are compared with a new one for each value, the newest first
    STEPS_MAX = 128             # of a chain, where others share it
    FOUND_MAX = 32              # calls that are compared with a new one in all
    USER_MAX = 64               # bytes of a telephone number that is read here

cdef enum Kind:
    SRC_FROM = 1
    SRC_TO = 2
    DST_FROM = 3
    DST_TO = 4
    NAMED = 5
    SESSION = 6
    MEDIA = 7
    OWN = 8                     # its own Call-ID, by which others may name it: calls that share one are no legs

# The scores of ``legs``.
cdef enum:
    ENOUGH = 60
    TO_USER = 20
    FROM_USER = 15
    AT_ONCE = 20
    MIDDLE = 15
    OUTCOME = 15

cdef extern from "string.h":
    void *memmem(const void *text, size_t size, const void *wanted, size_t wanted_size) noexcept nogil

cdef uint64_t _KEY[2]
memcpy(_KEY, <const char *>PyBytes_AS_STRING(os.urandom(16)), 16)

cdef int64_t AT_ONCE_NS = 20_000_000
cdef int64_t APART_NS = 4_000_000_000
cdef Py_ssize_t _TAIL = TAIL


@cython.final
cdef class Likely:
    """Calls by number, from 1 on; the newest ``CALLS`` are remembered."""

    def __init__(self, tuple headers not None):
        """``headers`` name legs, by their names as bytes in lower case."""
        self.headers = headers
        self.kept = [None] * CALLS
        self.near = {}

    def __cinit__(self):
        self.calls = <Begun *>calloc(CALLS, sizeof(Begun))
        self.entries = <Entry *>calloc(ENTRIES, sizeof(Entry))
        self.heads = <uint64_t *>calloc(HEADS, sizeof(uint64_t))
        if self.calls == NULL or self.entries == NULL or self.heads == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.calls)
        free(self.entries)
        free(self.heads)

    def add(self, int64_t start, str src not None, str dst not None, caller, called, tuple named not None,
            tuple sessions not None, bytes offer):
        """Remember a call; gives the numbers of those that may be its legs. Its own number is one more than that of
        the call before. ``caller`` and ``called`` are values of From and To, ``named`` its Call-ID and what
        else names a leg, as bytes or text.
        """
        cdef Traits traits
        traits.count = 0
        traits.call.start = start
        traits.call.src, traits.call.dst = _hash_of(src), _hash_of(dst)
        traits.call.caller, traits.call.called = _user_of(caller), _user_of(called)
        for i, value in enumerate(named[:8]):
            _add_value(&traits, _hash_of(value), NAMED if i else OWN)
        for value in sessions[:4]:
            _add_value(&traits, _hash_of(value), SESSION)
        if offer is not None:
            _add_value(&traits, _endpoint(PyBytes_AS_STRING(offer), PyBytes_GET_SIZE(offer)), MEDIA)
        return self._remember(&traits)

    def known(self, uint64_t number):
        """Give what is kept of a call, ``None`` where it was forgotten."""
        return None if number > self.count or self.count - number >= CALLS else self.kept[number % CALLS]

    def keep(self, uint64_t number, what):
        """Keep something of a call that is remembered."""
        if self.count - number < CALLS:
            self.kept[number % CALLS] = what

    def next(self):
        """Give the number of the next call, and what is kept of the one that is forgotten for it."""
        return self.count + 1, self.kept[(self.count + 1) % CALLS]

    cdef object show(self, Call call):
        """Remember a call of this worker, or that it has ended; gives the numbers of those that may be its legs."""
        if call.number:
            if not self.near:
                return ()
            others = self.near.get(call.number)
            if not others:
                return ()
            self.keep(call.number, call)        # how it ended is new
            return others
        others = self._add_call(call)
        call.number = self.count
        self.kept[self.count % CALLS] = call
        return others

    def show_all(self, list calls not None, compare):
        """Do so with many; ``compare`` takes the number of a call, and the numbers of those that may be its legs."""
        cdef Call call
        for call in calls:
            others = self.show(call)
            if others:
                compare(call.number, others)

    cdef object _add_call(self, Call call):
        cdef const Packed *first = call.notes[0]
        cdef const Packed *note
        cdef Traits traits
        cdef uint32_t i
        for i in range(call.count):
            note = call.notes[i]
            if note.method == INVITE and note.status == 0 and not note.to_tag and note.by_caller:
                first = note
                break
        memset(&traits, 0, sizeof(Traits))
        traits.call.start = first.time
        traits.call.src = keyed_hash(_KEY, first.flow.src, sizeof(first.flow.src))
        traits.call.dst = keyed_hash(_KEY, first.flow.dst, sizeof(first.flow.dst))
        _add_value(&traits, keyed_hash(_KEY, call.name, call.id_size), OWN)
        _add_fields(&traits, first, self.headers)
        if first.body:
            _add_value(&traits, _endpoint(body_of(first), first.body), MEDIA)
        return self._remember(&traits)

    cdef object _remember(self, Traits *traits):
        cdef uint64_t found[FOUND_MAX]
        cdef Begun *one = &traits.call
        cdef int hits = 0
        cdef int i
        self.count += 1
        if self.near:
            self.near.pop(self.count - CALLS, None)
        for i in range(traits.count):       # all are looked up below: the memory is asked for at once
            self._expect(traits.values[i], NAMED if traits.kinds[i] == OWN else traits.kinds[i])
        if one.caller:
            self._expect(one.caller ^ one.dst, SRC_FROM)
            self._expect(one.caller ^ one.src, DST_FROM)
        if one.called:
            self._expect(one.called ^ one.dst, SRC_TO)
            self._expect(one.called ^ one.src, DST_TO)
        for i in range(traits.count):
            hits = self._seek(one, traits.values[i], NAMED if traits.kinds[i] == OWN else traits.kinds[i], found, hits)
            if traits.kinds[i] == NAMED:
                hits = self._seek(one, traits.values[i], OWN, found, hits)
        if one.caller:
            hits = self._seek(one, one.caller ^ one.dst, SRC_FROM, found, hits)
            hits = self._seek(one, one.caller ^ one.src, DST_FROM, found, hits)
            _add_value(traits, one.caller ^ one.src, SRC_FROM)
            _add_value(traits, one.caller ^ one.dst, DST_FROM)
        if one.called:
            hits = self._seek(one, one.called ^ one.dst, SRC_TO, found, hits)
            hits = self._seek(one, one.called ^ one.src, DST_TO, found, hits)
            _add_value(traits, one.called ^ one.src, SRC_TO)
            _add_value(traits, one.called ^ one.dst, DST_TO)
        self.calls[self.count % CALLS] = one[0]
        for i in range(traits.count):
            self._enter(traits.values[i], traits.kinds[i])
        return [found[i] for i in range(hits)] if hits else ()

    cdef void _expect(self, uint64_t value, uint8_t kind) noexcept:
        prefetch(&self.heads[_place(value, kind) % HEADS])

    cdef int _seek(self, Begun *one, uint64_t value, uint8_t kind, uint64_t *found, int hits) noexcept:
        cdef uint64_t wanted = _place(value, kind)
        cdef uint64_t at = self.heads[wanted % HEADS]
        cdef uint64_t number
        cdef int same = 0
        cdef int steps = 0
        cdef int i
        cdef Entry *entry
        while at and self.entered - at < ENTRIES and steps < STEPS_MAX and same < SAME_MAX and hits < FOUND_MAX:
            steps += 1
            entry = &self.entries[at % ENTRIES]
            at = entry.before
            number = entry.call
            if self.count - number >= CALLS:
                break
            if entry.value != wanted:
                continue
            same += 1
            if kind < NAMED and _likeness(one, &self.calls[number % CALLS]) < ENOUGH - OUTCOME:
                continue
            for i in range(hits):
                if found[i] == number:
                    break
            else:
                found[hits] = number
                hits += 1
        return hits

    cdef void _enter(self, uint64_t value, uint8_t kind) noexcept:
        cdef Entry *entry
        cdef uint64_t hashed = _place(value, kind)
        self.entered += 1
        entry = &self.entries[self.entered % ENTRIES]
        entry.value = hashed
        entry.before = self.heads[hashed % HEADS]
        entry.call = self.count
        self.heads[hashed % HEADS] = self.entered


cdef inline uint64_t _place(uint64_t value, uint8_t kind) noexcept:
    return fold(value ^ kind, <uint64_t>0x9E3779B97F4A7C15)


cdef int _likeness(const Begun *one, const Begun *other) noexcept:
    """Give the score that two calls have by likeness, before it is known how they end."""
    cdef int64_t apart = one.start - other.start
    cdef int score = 0
    if apart > APART_NS or -apart > APART_NS:
        return 0
    if one.called and one.called == other.called:
        score += TO_USER
    if one.caller and one.caller == other.caller:
        score += FROM_USER
    if -AT_ONCE_NS <= apart <= AT_ONCE_NS:
        score += AT_ONCE
    if other.dst == one.src if apart >= 0 else one.dst == other.src:
        score += MIDDLE
    return score if apart or one.dst != other.src else score + MIDDLE     # of two at one time, either may be first


cdef int _add_value(Traits *traits, uint64_t value, uint8_t kind) noexcept:
    """Add something that a call may be found by; 0 is nothing."""
    if value and traits.count < VALUES_MAX:
        traits.values[traits.count], traits.kinds[traits.count] = value, kind
        traits.count += 1
    return 0


cdef int _add_fields(Traits *traits, const Packed *note, tuple headers) except -1:
    """Add what the header fields of an INVITE say."""
    cdef const char *at = fields_of(note)
    cdef const char *end = at + note.fields
    cdef const char *value
    cdef FieldHead head
    cdef bytes name
    at = next_field(at, end, &head)
    while at != NULL:
        value = at + head.name
        if _is_named(at, head.name, b"from", 4):
            traits.call.caller = traits.call.caller or _user(value, head.value)
        elif _is_named(at, head.name, b"to", 2):
            traits.call.called = traits.call.called or _user(value, head.value)
        elif head.name == 10 and memcmp(at, b"session-id", 10) == 0:
            for one in sessions_of({"session-id": value[:head.value].decode("utf-8", "replace")}):
                _add_value(traits, _hash_of(one), SESSION)
        else:
            for name in headers:
                if PyBytes_GET_SIZE(name) == head.name and memcmp(at, PyBytes_AS_STRING(name), head.name) == 0:
                    _add_value(traits, keyed_hash(_KEY, value, head.value), NAMED)
        at = next_field(value + head.value, end, &head)
    return 0


cdef inline bint _is_named(const char *name, Py_ssize_t size, const char *wanted, Py_ssize_t wanted_size) noexcept:
    """Whether a name is this one, or its compact form, which is its first letter."""
    return (size == wanted_size or size == 1) and memcmp(name, wanted, size) == 0


cdef uint64_t _hash_of(object text) except? 0:
    cdef bytes data = text if type(text) is bytes else (<str>text).encode("utf-8", "surrogatepass")
    return keyed_hash(_KEY, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef uint64_t _user_of(object value) except? 0:
    cdef const char *text
    cdef Py_ssize_t size = 0
    if not value:
        return 0
    text = PyUnicode_AsUTF8AndSize(value, &size)
    return _user(text, size)


cdef uint64_t _user(const char *text, Py_ssize_t size) except? 0:
    """Give a hash of the user in a From or To, 0 for none: equal for those that ``parties.same_user`` takes for one."""
    cdef const char *at = <const char *>memchr(text, c"<", size)
    cdef Py_ssize_t i
    cdef Py_ssize_t end
    cdef Py_ssize_t left = size - (at - text)
    cdef Py_ssize_t digits = 0
    cdef char kept[USER_MAX]
    if at != NULL and left > 5 and memcmp(at + 1, b"sip:", 4) == 0 and _is_plain(text, at - text):
        at += 5
        left -= 5
        for end in range(left):
            if at[end] == c"@" or at[end] < 33 or not (at[end] == c"-" or at[end] == c"." or at[end] == c"_"
                                                       or c"0" <= at[end] <= c"9" or c"@" < at[end] <= c"z"
                                                       or at[end] == c"+"):
                break
        else:
            end = left
        if 0 < end < USER_MAX and end < left and at[end] == c"@" and _is_last_at(at + end + 1, left - end - 1):
            for i in range(end):
                if c"0" <= at[i] <= c"9":
                    kept[digits] = at[i]
                    digits += 1
            if digits >= _TAIL:
                return keyed_hash(_KEY, kept + digits - _TAIL, _TAIL) | 1
            return keyed_hash(_KEY, at, end) | 1
    found = user_key((read_party(text[:size].decode("utf-8", "replace")) or {}).get("user"))
    return _hash_of(found) | 1 if found else 0


cdef bint _is_plain(const char *text, Py_ssize_t size) noexcept:
    """Whether a display name is such that the next ``<`` begins the URI."""
    cdef Py_ssize_t i
    cdef int quotes = 0
    for i in range(size):
        if text[i] == c"\\" or text[i] < 32:
            return False
        quotes += text[i] == c'"'
    return quotes == 0 or (quotes == 2 and text[0] == c'"')


cdef bint _is_last_at(const char *text, Py_ssize_t size) noexcept:
    """Whether a URI has no further ``@``, and ends as it should."""
    cdef const char *end = <const char *>memchr(text, c">", size)
    return end != NULL and memchr(text, c"@", end - text) == NULL


cdef uint64_t _endpoint(const char *offer, Py_ssize_t size) noexcept:
    """Give a hash of the address on the first ``c=`` and the port on the first ``m=``, 0 where one is missing."""
    cdef const char *address = NULL
    cdef const char *port = NULL
    cdef Py_ssize_t address_len = _word(offer, size, b"c=", 2, &address)
    cdef Py_ssize_t port_len = _word(offer, size, b"m=", 1, &port)
    if not address_len or not port_len:
        return 0
    return keyed_hash(_KEY, address, address_len) ^ fold(
        keyed_hash(_KEY, port, port_len), <uint64_t>0xC2B2AE3D27D4EB4F
    ) | 1


cdef Py_ssize_t _word(const char *text, Py_ssize_t size, const char *line, int number, const char **word) noexcept:
    """Find a word, by its number from 0 on, of the first line that begins so; gives its length, 0 where it is not."""
    cdef const char *at = <const char *>memmem(text, size, line, 2)
    cdef const char *end = text + size
    cdef const char *begin
    if at == NULL:
        return 0
    at += 2
    while at < end and at[0] != c"\n":
        while at < end and at[0] == c" ":
            at += 1
        begin = at
        while at < end and at[0] != c" " and at[0] != c"\n" and at[0] != c"\r":
            at += 1
        if number == 0:
            word[0] = begin
            return at - begin
        number -= 1
        if at < end and at[0] == c"\r":
            return 0
    return 0
