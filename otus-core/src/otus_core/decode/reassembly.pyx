"""IP fragments, put together again.

Comes in: one fragment at a time. Goes out: 1 when it made its datagram whole (``datagram``), else 0, and the fragment
is already counted.

Every fragment is in exactly one counter. ``fragments_held`` counts those that wait; when a datagram is whole they move
to ``fragments_merged``, all but the frame that completed it, which is the unit. What does not get there is
``dropped{reassembly:OUTCOME}``:

``timeout``       not whole in time, by packet clock since its first fragment
``overlap``       fragments share bytes: all of the datagram so far is discarded, as Linux does since CVE-2018-5391
``duplicate``     an exact copy of a held fragment: it alone is ignored
``limit``         a bound was reached: the oldest datagram gives way, of a source that has had its share that source's
                  own
``too_large``     the fragment reaches past 65,535 bytes
``bad_fragment``  empty, or not a multiple of eight bytes though more follow; or its end contradicts another's: then all
                  of the datagram
``incomplete``    the capture ended

The cost of a fragment is O(1) in the number of datagrams and O(fragments of its own datagram), both bounded.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

import os

from otus_core.model.counter_names import name_of
from otus_core.inline.hashing cimport keyed_hash
from otus_core.inline.tables cimport append, chain, close_buckets, leave, open_buckets, unchain
from otus_core.model.accounts cimport Accounts

from otus_core.decode.hidden import hidden_name

OUTCOMES = ("timeout", "overlap", "duplicate", "limit", "too_large", "bad_fragment", "incomplete")

cdef enum Outcome:
    TIMEOUT = 0
    OVERLAP = 1
    DUPLICATE = 2
    LIMIT = 3
    TOO_LARGE = 4
    BAD_FRAGMENT = 5
    INCOMPLETE = 6

cdef enum:
    DATAGRAM_MAX = 65535        # RFC 791 §3.1, RFC 8200 §4.5
    # What a fragment and the share of its group cost beside the bytes: counted, so that tiny fragments are not free.
    FRAGMENT_COST = 64
    # Incomplete datagrams of one source. Whoever forges fragments in its name meets the id of a real datagram, which is
    # then lost as an overlap, with a probability of held / 65,536 (an IPv4 id has 16 bits): 256 make 0.4 %. A real
    # source has a few at once, whose fragments follow each other within milliseconds.
    SOURCE_GROUPS_MAX = 256


@cython.final
cdef class Reassembly:
    """Holds fragments within the limits of ``options`` (a ReassemblyConfig) and counts every outcome in
    ``accounts``.
    """

    def __cinit__(self, Accounts accounts not None, options):
        self.accounts = accounts
        self.merged = accounts.slot("fragments_merged")
        self.held = accounts.slot("fragments_held")
        for i, outcome in enumerate(OUTCOMES):
            self.outcomes[i] = accounts.slot(name_of("dropped", "reassembly", outcome))
        self.without_first = accounts.slot(hidden_name("fragments_without_first"))
        self.timeout = <int64_t>(options.timeout * 1e9)
        self.max_fragments = options.max_fragments
        self.max_groups = options.max_datagrams
        self.max_bytes = options.max_bytes
        self.max_per_group = options.max_fragments_per_datagram
        self.source_groups = max(1, min(SOURCE_GROUPS_MAX, <uint32_t>(options.source_share * options.max_datagrams)))
        self.source_fragments = max(2, <uint32_t>(options.source_share * options.max_fragments))
        self.source_bytes = <uint32_t>(options.source_share * options.max_bytes)
        # Nobody outside can choose addresses and ids that meet in one bucket, or in one place of sources.
        memcpy(self.secret, PyBytes_AS_STRING(os.urandom(16)), 16)
        open_buckets(&self.buckets, self.max_groups)
        self.sources = <Source *>calloc(SOURCES, sizeof(Source))
        if self.sources == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef Group *group
        while self.by_age.oldest != NULL:
            self._close(<Group *>self.by_age.oldest)
        while self.spare != NULL:
            group = <Group *>self.spare
            self.spare = group.chained
            free(group)
        close_buckets(&self.buckets)
        free(self.sources)

    cdef int add(self, Piece *piece) except -1:
        """Take one fragment; 1 when ``datagram`` is whole now."""
        cdef uint32_t end = piece.offset + piece.length
        cdef uint32_t hashed, source
        cdef Group *group
        cdef Fragment *after = NULL
        cdef Fragment *next
        # All but the last carry a multiple of eight bytes: offsets count in those (RFC 791, 3.1; RFC 8200, 4.5).
        if piece.length == 0 or (piece.more and piece.length & 7):
            return self._refuse(BAD_FRAGMENT)
        # Else the datagram would be longer than its 16-bit length can say, as in the "ping of death".
        if piece.length > DATAGRAM_MAX or end + piece.head > DATAGRAM_MAX:
            return self._refuse(TOO_LARGE)
        hashed = <uint32_t>keyed_hash(self.secret, &piece.key, sizeof(GroupKey))
        group = self._find(&piece.key, hashed & self.buckets.mask)
        if group == NULL:
            source = <uint32_t>keyed_hash(self.secret, piece.key.src, 16) & (SOURCES - 1)
            if not self._make_room(NULL, source, piece.length):
                return self._refuse(LIMIT)
            return self._hold(self._open(piece, hashed & self.buckets.mask, source), NULL, piece)
        if group.last.offset < piece.offset:
            after = group.last
            next = NULL
        else:
            next = group.first
            while next != NULL and next.offset < piece.offset:
                after = next
                next = next.next
        # Overlaps are how fragments are made to say one thing to a firewall and another to the target (RFC 1858): the
        # datagram goes, as RFC 5722 demands for IPv6. An exact copy is no overlap: networks duplicate packets.
        if after != NULL and after.offset + after.length > piece.offset:
            return self._discard(group, OVERLAP, 1)
        if next != NULL and end > next.offset:
            if (next.offset == piece.offset and next.length == piece.length and next.more == piece.more
                    and memcmp(next + 1, piece.data, piece.length) == 0):
                return self._refuse(DUPLICATE)
            return self._discard(group, OVERLAP, 1)
        if piece.more:
            if group.total and end > group.total:
                return self._discard(group, BAD_FRAGMENT, 1)
        else:
            if group.total or next != NULL:
                return self._discard(group, BAD_FRAGMENT, 1)
            group.total = end
        if group.total == group.bytes + piece.length:
            return self._complete(group, after, piece)
        if group.frames >= self.max_per_group or not self._make_room(group, group.source, piece.length):
            return self._discard(group, LIMIT, 1)
        return self._hold(group, after, piece)

    cdef void advance(self, int64_t now) noexcept:
        """Move the packet clock (ns) and give up on what has waited too long."""
        if now > self.now:
            self.now = now
            while self.by_age.oldest != NULL and now - (<Group *>self.by_age.oldest).born >= self.timeout:
                self._discard(<Group *>self.by_age.oldest, TIMEOUT, 0)

    cdef void finish(self) noexcept:
        """The capture has ended: give up on everything."""
        while self.by_age.oldest != NULL:
            self._discard(<Group *>self.by_age.oldest, INCOMPLETE, 0)

    cdef Group *_find(self, const GroupKey *key, uint32_t bucket) noexcept:
        cdef Group *group = <Group *>self.buckets.at[bucket]
        while group != NULL and memcmp(&group.key, key, sizeof(GroupKey)) != 0:
            group = <Group *>group.chained
        return group

    cdef bint _room_of_source(self, Group *group, Source *held, uint32_t cost) noexcept:
        """Keep a source within its share.

        Its own oldest give way, so that what is forged in its name does not keep its later datagrams out.
        """
        while (held.fragments + 1 > self.source_fragments or held.bytes + cost > self.source_bytes
               or (group == NULL and held.groups + 1 > self.source_groups)):
            # That one is the oldest, or nothing is held, and the fragment alone is more than the share.
            if held.groups_by_age.oldest == group:
                return False
            self._discard(<Group *>held.groups_by_age.oldest, LIMIT, 0)
        return True

    cdef bint _make_room(self, Group *group, uint32_t source, uint32_t length) noexcept:
        """Make sure that one more fragment, of ``group`` or a new one, fits: the oldest others give way.

        False when it does not.
        """
        cdef uint32_t cost = length + FRAGMENT_COST
        if not self._room_of_source(group, &self.sources[source], cost):
            return False
        while (self.fragments + 1 > self.max_fragments or self.bytes + cost > self.max_bytes
               or (group == NULL and self.groups + 1 > self.max_groups)):
            if self.by_age.oldest == group:
                return False
            self._discard(<Group *>self.by_age.oldest, LIMIT, 0)
        return True

    cdef Group *_open(self, Piece *piece, uint32_t bucket, uint32_t source) except NULL:
        """Begin a datagram."""
        cdef Group *group = <Group *>self.spare
        cdef Source *held = &self.sources[source]
        if group != NULL:
            self.spare = group.chained
        else:
            group = <Group *>malloc(sizeof(Group))
            if group == NULL:
                raise MemoryError
        group.key = piece.key
        group.bucket = bucket
        group.source = source
        group.born = self.now
        group.first = group.last = NULL
        group.frames = group.bytes = 0
        group.total = 0 if piece.more else piece.offset + piece.length
        group.head = 0
        group.protocol = group.ttl = 0
        chain(&self.buckets.at[bucket], group, &group.chained)
        append(&self.by_age, group, &group.age)
        append(&held.groups_by_age, group, &group.age_of_source)
        held.groups += 1
        self.groups += 1
        return group

    cdef int _hold(self, Group *group, Fragment *after, Piece *piece) except -1:
        """Keep a copy of a fragment, behind ``after`` in its group."""
        cdef Fragment *fragment = <Fragment *>malloc(sizeof(Fragment) + piece.length)
        if fragment == NULL:
            if group.first == NULL:
                self._close(group)
            raise MemoryError
        fragment.offset = piece.offset
        fragment.length = piece.length
        fragment.more = piece.more
        memcpy(fragment + 1, piece.data, piece.length)
        if after == NULL:
            fragment.next = group.first
            group.first = fragment
        else:
            fragment.next = after.next
            after.next = fragment
        if fragment.next == NULL:
            group.last = fragment
        if piece.offset == 0:
            group.head = piece.head
            group.protocol = piece.protocol
            group.ttl = piece.ttl
        group.frames += 1
        group.bytes += piece.length
        self.fragments += 1
        self.bytes += piece.length + FRAGMENT_COST
        self.sources[group.source].fragments += 1
        self.sources[group.source].bytes += piece.length + FRAGMENT_COST
        self.accounts.at[self.held] += 1
        return 0

    cdef int _complete(self, Group *group, Fragment *after, Piece *piece) except -1:
        """Write the datagram out; the completing fragment goes straight from its frame into it."""
        cdef Fragment *fragment = group.first
        cdef uint8_t *out
        cdef bytes datagram
        if piece.offset == 0:
            group.head = piece.head
            group.protocol = piece.protocol
            group.ttl = piece.ttl
        if group.total + group.head > DATAGRAM_MAX:
            return self._discard(group, TOO_LARGE, 1)
        datagram = PyBytes_FromStringAndSize(NULL, group.total)
        out = <uint8_t *>PyBytes_AS_STRING(datagram)
        memcpy(out + piece.offset, piece.data, piece.length)
        while fragment != NULL:
            memcpy(out + fragment.offset, fragment + 1, fragment.length)
            fragment = fragment.next
        self.datagram = datagram        # only now: the piece may lie in the datagram before this one
        self.head = group.head
        self.protocol = group.protocol
        self.ttl = group.ttl
        self.accounts.at[self.held] -= group.frames
        self.accounts.at[self.merged] += group.frames
        self._close(group)
        return 1

    cdef int _refuse(self, int outcome) noexcept:
        """Drop the fragment at hand, alone."""
        self.accounts.at[self.outcomes[outcome]] += 1
        return 0

    cdef int _discard(self, Group *group, int outcome, uint32_t more) noexcept:
        """Drop a datagram with its held fragments, and ``more`` that are not held."""
        self.accounts.at[self.held] -= group.frames
        self.accounts.at[self.outcomes[outcome]] += group.frames + more
        if group.first.offset and (outcome == TIMEOUT or outcome == INCOMPLETE):
            self.accounts.at[self.without_first] += group.frames
        self._close(group)
        return 0

    cdef void _close(self, Group *group) noexcept:
        """Forget a group and free its fragments."""
        cdef Fragment *fragment = group.first
        cdef Fragment *next
        cdef uint32_t cost = group.bytes + group.frames * FRAGMENT_COST
        cdef Source *held = &self.sources[group.source]
        unchain(&self.buckets.at[group.bucket], group, &group.chained)
        leave(&self.by_age, group, &group.age)
        leave(&held.groups_by_age, group, &group.age_of_source)
        while fragment != NULL:
            next = fragment.next
            free(fragment)
            fragment = next
        self.groups -= 1
        self.fragments -= group.frames
        self.bytes -= cost
        held.groups -= 1
        held.fragments -= group.frames
        held.bytes -= cost
        chain(&self.spare, group, &group.chained)
