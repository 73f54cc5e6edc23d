"""Which calls may be legs of one that is new: an index by hashes, so that only those few are compared.

Likeness alone is worth at most 85, so of its five pieces of evidence four are needed: one of the two users is always
the same, and the calls have a host in common. What is stronger than likeness is found by its own value.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp

from otus_core.inline.hashing cimport fold

from otus_calls.parties import TAIL, read_party, user_key

cdef enum:
    CALLS = 16384               # that are remembered; a power of two
    ENTRIES = 131072            # eight values of each call, more of some
    HEADS = 65536
    SAME_MAX = 32               # calls that are compared with a new one for each value, the newest first
    STEPS_MAX = 128             # of a chain, where others share it
    VALUES_MAX = 24             # of one call
    FOUND_MAX = 256
    USER_MAX = 64               # bytes of a telephone number that is read here

cdef enum Kind:
    SRC_FROM = 1
    SRC_TO = 2
    DST_FROM = 3
    DST_TO = 4
    NAMED = 5
    SESSION = 6
    MEDIA = 7

# The scores of ``legs``.
cdef enum:
    ENOUGH = 60
    TO_USER = 20
    FROM_USER = 15
    AT_ONCE = 20
    MIDDLE = 15
    OUTCOME = 15

cdef int64_t AT_ONCE_NS = 20_000_000
cdef int64_t APART_NS = 4_000_000_000
cdef Py_ssize_t _TAIL = TAIL


cdef struct Begun:
    int64_t start
    uint64_t src, dst           # hashes
    uint64_t caller, called     # of the users, 0 for none


cdef struct Entry:
    uint64_t value
    uint64_t before             # number of the entry before it in the chain
    uint64_t call               # number of the call


@cython.final
cdef class Likely:
    """Calls by number, from 1 on; the newest ``CALLS`` are remembered."""

    cdef Begun *calls
    cdef Entry *entries
    cdef uint64_t *heads
    cdef uint64_t count
    cdef uint64_t entered

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
        the call before. ``caller`` and ``called`` are values of From and To, ``named`` what a leg is named by, as
        bytes or text.
        """
        cdef uint64_t values[VALUES_MAX]
        cdef uint8_t kinds[VALUES_MAX]
        cdef uint64_t found[FOUND_MAX]
        cdef int n = 0
        cdef int i
        cdef int hits = 0
        cdef Begun one
        one.start = start
        one.src, one.dst = <uint64_t>hash(src), <uint64_t>hash(dst)
        one.caller, one.called = _user(caller), _user(called)
        self.count += 1
        for value in named[:8]:
            values[n], kinds[n] = <uint64_t>hash(value), NAMED
            n += 1
        for value in sessions[:4]:
            values[n], kinds[n] = <uint64_t>hash(value), SESSION
            n += 1
        if offer is not None:
            values[n] = _endpoint(offer)
            if values[n]:
                kinds[n] = MEDIA
                n += 1
        for i in range(n):
            hits = self._seek(&one, values[i], kinds[i], found, hits)
        if one.caller:
            hits = self._seek(&one, one.caller ^ one.dst, SRC_FROM, found, hits)
            hits = self._seek(&one, one.caller ^ one.src, DST_FROM, found, hits)
            values[n], kinds[n] = one.caller ^ one.src, SRC_FROM
            values[n + 1], kinds[n + 1] = one.caller ^ one.dst, DST_FROM
            n += 2
        if one.called:
            hits = self._seek(&one, one.called ^ one.dst, SRC_TO, found, hits)
            hits = self._seek(&one, one.called ^ one.src, DST_TO, found, hits)
            values[n], kinds[n] = one.called ^ one.src, SRC_TO
            values[n + 1], kinds[n + 1] = one.called ^ one.dst, DST_TO
            n += 2
        self.calls[self.count % CALLS] = one
        for i in range(n):
            self._enter(values[i], kinds[i])
        return [found[i] for i in range(hits)] if hits else ()

    cdef int _seek(self, Begun *one, uint64_t value, uint8_t kind, uint64_t *found, int hits) noexcept:
        cdef uint64_t wanted = fold(value ^ kind, <uint64_t>0x9E3779B97F4A7C15)
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
        cdef uint64_t hashed = fold(value ^ kind, <uint64_t>0x9E3779B97F4A7C15)
        self.entered += 1
        entry = &self.entries[self.entered % ENTRIES]
        entry.value = hashed
        entry.before = self.heads[hashed % HEADS]
        entry.call = self.count
        self.heads[hashed % HEADS] = self.entered


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


cdef uint64_t _user(value) except? 0:
    """Give a hash of the user in a From or To, 0 for none: equal for those that ``parties.same_user`` takes for one."""
    cdef const char *text
    cdef const char *at
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t i
    cdef Py_ssize_t end
    cdef Py_ssize_t digits = 0
    cdef char kept[USER_MAX]
    if not value:
        return 0
    text = PyUnicode_AsUTF8AndSize(value, &size)
    at = <const char *>memchr(text, c"<", size)
    if at != NULL and size - (at - text) > 5 and memcmp(at + 1, b"sip:", 4) == 0 and _is_plain(text, at - text):
        at += 5
        size -= at - text
        for end in range(size):
            if at[end] == c"@" or at[end] < 33 or not (at[end] == c"-" or at[end] == c"." or at[end] == c"_"
                                                       or c"0" <= at[end] <= c"9" or c"@" < at[end] <= c"z"
                                                       or at[end] == c"+"):
                break
        else:
            end = size
        if 0 < end < USER_MAX and end < size and at[end] == c"@" and _is_last_at(at + end + 1, size - end - 1):
            for i in range(end):
                if c"0" <= at[i] <= c"9":
                    kept[digits] = at[i]
                    digits += 1
            if digits >= _TAIL:
                return _hashed(kept + digits - _TAIL, _TAIL)
            return _hashed(at, end)
    found = user_key((read_party(value) or {}).get("user")).encode("utf-8", "surrogatepass")
    return <uint64_t>hash(found) | 1 if found else 0


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
    cdef Py_ssize_t i
    for i in range(size):
        if text[i] == c"@":
            return False
        if text[i] == c">":
            return True
    return False


cdef uint64_t _hashed(const char *text, Py_ssize_t size) except? 0:
    return <uint64_t>hash(PyBytes_FromStringAndSize(text, size)) | 1


cdef uint64_t _endpoint(bytes offer) except? 0:
    """Give a hash of address and port of the first medium, 0 where there is none."""
    cdef Py_ssize_t at = offer.find(b"c=")
    cdef Py_ssize_t media = offer.find(b"m=")
    if at < 0 or media < 0:
        return 0
    address = offer[at + 2:at + 66].split(b"\n", 1)[0].split()
    port = offer[media + 2:media + 66].split(b" ", 2)
    if len(address) < 3 or len(port) < 3:
        return 0
    return <uint64_t>hash(address[2]) ^ fold(<uint64_t>hash(port[1]), <uint64_t>0xC2B2AE3D27D4EB4F) | 1
