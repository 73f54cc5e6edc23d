"""What is known of one stream: sequence, jitter, deltas, clock drift, and what a play-out buffer would throw away.

In: packets in the order of their arrival. Out: ``figures``. Times are in ns until they are told.
"""

cimport cython
from libc.math cimport fabs

from otus_rtp.codecs import codec_of, kind_of

cdef enum:
    MAX_DROPOUT = 3000          # RFC 3550 A.1
    MAX_MISORDER = 100          # RFC 3550 A.1
    WINDOW = 128                # sequence numbers; what is further behind is not waited for (MAX_MISORDER)
    LATE_IN_A_ROW = 3                # packets in a row, after which the play-out buffer begins anew
    VIDEO_CLOCK = 90000         # of all video (RFC 3551 §5), whose marker ends a frame instead of beginning a talkspurt
    SAMPLES_BEFORE_DEPTH = 16   # of jitter; the buffer keeps its first depth before

cdef double MS = 1e6
cdef double DEPTH_FIRST = 40 * MS
cdef double DEPTH_LEAST = 20 * MS
cdef double DEPTH_MOST = 200 * MS
cdef int64_t ANCHOR_HALF = 5_000_000_000    # an anchor is the least of 5 to 10 s
cdef double JUMP = 1e9                      # of a timestamp against arrivals; drift begins anew behind it
cdef double DRIFT_LEAST = 10e9              # of media, before the drift says something


cdef inline bint _has(const Sequence *order, int64_t number) noexcept:
    return order.seen[number >> 6 & 1] >> (number & 63) & 1


cdef inline void _mark(Sequence *order, int64_t number) noexcept:
    order.seen[number >> 6 & 1] |= <uint64_t>1 << (number & 63)


cdef inline void _clear(Sequence *order, int64_t number) noexcept:
    order.seen[number >> 6 & 1] &= ~(<uint64_t>1 << (number & 63))


cdef void _begin(Sequence *order, uint16_t number) noexcept:
    order.seen[0] = order.seen[1] = 0
    order.base = order.top = order.settled = 0x10000 + <int64_t>number  # so that none is below 0
    order.expects = -1
    order.begun = order.probation = True
    _mark(order, order.top)


cdef inline void _settle(Sequence *order, int64_t end) noexcept:
    """Nothing below ``end``, which is at most the number behind ``top``, is waited for any more: what did not come is
    lost.
    """
    while order.settled < end:
        if not _has(order, order.settled):
            order.run += 1
        elif order.run:
            _end_run(order)
        order.settled += 1


cdef void _advance(Sequence *order, int64_t top) noexcept:
    """Put a number beyond ``top`` in its place; those between the two have not come yet."""
    cdef int64_t end = top - MAX_MISORDER + 1
    cdef int64_t i
    _settle(order, min(end, order.top + 1))
    if order.settled < end:
        order.run += end - order.settled
        order.settled = end
    for i in range(max(order.top + 1, top - WINDOW + 1), top):
        _clear(order, i)
    order.top = top
    _mark(order, top)


cdef inline void _end_run(Sequence *order) noexcept:
    order.bursts += 1
    order.burst_lost += order.run
    order.burst_max = max(order.burst_max, order.run)
    order.run = 0


cdef void _restart(Sequence *order, uint16_t number) noexcept:
    """Sequence numbers begin anew; what was expected up to here stays so."""
    _settle(order, order.top + 1)
    order.expected_before += order.top - order.base + 1
    _begin(order, number)


cdef Fate _place(Sequence *order, uint16_t number, uint32_t size, uint32_t *gap, uint64_t *found) noexcept:
    """Find the place of a sequence number, as RFC 3550 A.1 does, and whether it has come before. ``found`` are the
    bytes of a stray packet that has a place now.
    """
    cdef uint16_t ahead = <uint16_t>(number - <uint16_t>order.top)
    cdef int64_t i
    gap[0] = 0
    if not order.begun:
        _begin(order, number)
    elif 0 < ahead < MAX_DROPOUT:
        gap[0] = ahead - 1
        _advance(order, order.top + ahead)
        order.probation = False
        order.expects = -1
    elif ahead == 0 or ahead > 0x10000 - MAX_MISORDER:
        i = order.top - <int64_t>(<uint16_t>(0 - ahead))
        if ahead == 0 or _has(order, i):
            order.duplicates += 1
            return DUPLICATE
        _mark(order, i)
        order.reordered += 1
        if i < order.base:      # it was sent before the one that came first
            order.base = i
            order.settled = min(order.settled, i)
    elif order.probation:
        order.resets += 1
        _restart(order, number)
    elif order.expects == number:   # the second in a row: the sender has begun anew
        order.resets += 1
        _restart(order, <uint16_t>(number - 1))
        _advance(order, order.top + 1)
        order.probation = False
        order.strays -= 1
        order.packets += 1
        found[0] = order.stray_size
    else:
        order.strays += 1
        order.expects = <uint16_t>(number + 1)
        order.stray_size = size
        return STRAY
    order.packets += 1
    return FRESH


@cython.final
cdef class Stream:
    """One stream: all packets of an SSRC in one 5-tuple."""

    def __cinit__(self, flow, uint32_t ssrc, codecs):
        self.flow = flow
        self.ssrc = ssrc
        self.codecs = codecs
        self.payload_type = self.counted_type = -1
        self.event_at = -1
        self.dscp = -1
        self.match = ""
        self.matches = ()
        self.order.expects = -1

    cdef Fate add(self, const Arrival *one) noexcept:
        """Take in a packet of which ``learn`` knows the payload type."""
        cdef uint64_t found = 0
        cdef Fate fate = _place(&self.order, one.sequence, one.size, &self.gap, &found)
        if fate != FRESH:
            return fate
        if self.first == 0:
            self.first = one.at
        self.last = one.at
        self.bytes += one.size + found
        if self.kind == MEDIA:
            self._time(one)
        elif self.kind == NOISE:
            self.pause = True
        return FRESH

    cdef void _count_types(self) noexcept:
        """Count the packets since the last call: all had one payload type."""
        cdef int64_t packets = self.order.packets - self.counted
        cdef int i = 0
        self.counted = self.order.packets
        if packets == 0:
            return
        while i < self.type_count and self.types[i].payload_type != self.counted_type:
            i += 1
        if i == TYPES_MAX:
            return
        if i == self.type_count:
            self.types[i].payload_type = <uint8_t>self.counted_type
            self.type_count += 1
        self.types[i].packets += packets

    cdef int learn(self, int payload_type) except -1:
        """Look up what a payload type means, when it is not that of the packet before."""
        name, clock = codec_of(payload_type, self.codecs)
        self._count_types()
        self.counted_type = payload_type
        self.payload_type = <int16_t>payload_type
        self.kind = kind_of(name)
        self.clock = clock
        self.unit = 1e9 / clock if clock else 0.0
        self.frames = clock == VIDEO_CLOCK
        return 0

    cdef void _time(self, const Arrival *one) noexcept:
        """Jitter (RFC 3550 A.8), deltas and what follows from them, against the media packet before."""
        cdef int32_t step = <int32_t>(one.timestamp - self.timed_timestamp)
        cdef int64_t delta = one.at - self.timed_at
        cdef double moved = step * self.unit
        cdef double off
        cdef bint follows = self.timed and self.timed_type == one.payload_type and not self.pause
        if follows and (self.frames or not one.marker):
            self.delta_min = min(self.delta_min, delta) if self.samples else delta
            self.delta_max = max(self.delta_max, delta)
            self.delta_sum += delta
            off = fabs(<double>delta - moved)
            self.jitter += (off - self.jitter) / 16
            self.jitter_sum += self.jitter
            self.jitter_max = max(self.jitter_max, self.jitter)
            self.samples += 1
            if one.sequence == <uint16_t>(self.timed_sequence + 1) and step > 0:
                self._count_step(step)
        if self.clock:
            self._play(one, moved if self.timed else 0.0, delta)
        self.timed = True
        self.pause = False
        self.timed_type = one.payload_type
        self.timed_at = one.at
        self.timed_timestamp = one.timestamp
        self.timed_sequence = one.sequence

    cdef void _count_step(self, int32_t step) noexcept:
        """Count a timestamp step; a new one takes the place of the rarest."""
        cdef int i
        cdef int rarest = 0
        for i in range(STEPS_MAX):
            if self.steps[i].size == step:
                self.steps[i].count += 1
                return
            if self.steps[i].count < self.steps[rarest].count:
                rarest = i
        self.steps[rarest].size = step
        self.steps[rarest].count = 1

    cdef void _play(self, const Arrival *one, double moved, int64_t delta) noexcept:
        """Ask an adaptive play-out buffer whether the packet comes in time, and note the drift."""
        cdef double transit, depth, x, y
        cdef bint jumped = self.timed and fabs(<double>delta - moved) > JUMP
        self.media += moved
        transit = <double>(one.at - self.first) - self.media
        if not self.timed or jumped:
            self.drift_from, self.drift_media = one.at, self.media
            self.drift_n = self.drift_x = self.drift_y = self.drift_xx = self.drift_xy = 0
        x = self.media - self.drift_media
        y = <double>(one.at - self.drift_from) - x
        self.drift_n += 1
        self.drift_x += x
        self.drift_y += y
        self.drift_xx += x * x
        self.drift_xy += x * y
        if not self.timed or (one.marker and not self.frames):
            self._anchor(transit, one.at)
            return
        if one.at - self.anchored > ANCHOR_HALF:
            self.anchor_before = self.anchor
            self.anchor = transit
            self.anchored = one.at
        self.anchor = min(self.anchor, transit)
        depth = DEPTH_FIRST
        if self.samples >= SAMPLES_BEFORE_DEPTH:    # four times the jitter, as common buffers do
            depth = min(max(4 * self.jitter, DEPTH_LEAST), DEPTH_MOST)
        if transit - min(self.anchor, self.anchor_before) <= depth:
            self.late = 0
            return
        self.discarded += 1
        self.late += 1
        if self.late >= LATE_IN_A_ROW:
            self._anchor(transit, one.at)

    cdef void _anchor(self, double transit, int64_t at) noexcept:
        self.anchor = self.anchor_before = transit
        self.anchored = at
        self.late = 0

    @property
    def expected(self):
        return self.order.expected_before + (self.order.top - self.order.base + 1 if self.order.begun else 0)

    @property
    def base(self):
        """The sequence number that it began with."""
        return self.order.base - 0x10000

    @property
    def top(self):
        """The highest sequence number so far; beyond 65535 where it went round."""
        return self.order.top - 0x10000

    @property
    def packets(self):
        return self.order.packets

    @property
    def payload_types(self):
        """Payload type → packets."""
        self._count_types()
        return {self.types[i].payload_type: self.types[i].packets for i in range(self.type_count)}

    def codec(self):
        """Give name and clock rate of what most packets carry, events and comfort noise left out: ("", 0) for
        nothing that is known.
        """
        cdef uint64_t most = 0
        found = ("", 0)
        for number, packets in self.payload_types.items():
            name, clock = codec_of(number, self.codecs)
            if kind_of(name) == MEDIA and packets > most:
                most, found = packets, (name, clock)
        return found

    def clock_of(self, int payload_type):
        """Give the clock rate of a payload type, 0 if it is not known."""
        return codec_of(payload_type, self.codecs)[1]

    def figures(self):
        """Give everything measured, as a dict of plain numbers; ``None`` for what nobody can know."""
        cdef Sequence order = self.order     # what is not settled yet is judged in a copy
        cdef int64_t expected = self.expected
        cdef int64_t lost
        cdef double loss, spread
        cdef int i
        cdef int most = 0
        if order.begun:
            _settle(&order, order.top + 1)
        if order.run:
            _end_run(&order)
        lost = expected - order.packets
        loss = <double>lost / expected if expected else 0.0
        for i in range(STEPS_MAX):
            if self.steps[i].count > self.steps[most].count:
                most = i
        spread = self.drift_n * self.drift_xx - self.drift_x * self.drift_x
        known = self.samples > 0
        timed = known and self.codec()[1] > 0
        drifted = self.drift_n >= 50 and self.media - self.drift_media > DRIFT_LEAST and spread > 0
        return {
            "packets": order.packets,
            "bytes": self.bytes,
            "expected": expected,
            "lost": lost,
            "loss_pct": 100 * loss,
            "duplicates": order.duplicates,
            "reordered": order.reordered,
            "seq_resets": order.resets,
            "strays": order.strays,
            "jitter_last": self.jitter / MS if timed else None,
            "jitter_mean": self.jitter_sum / self.samples / MS if timed else None,
            "jitter_max": self.jitter_max / MS if timed else None,
            "delta_min": self.delta_min / MS if known else None,
            "delta_mean": self.delta_sum / MS / self.samples if known else None,
            "delta_max": self.delta_max / MS if known else None,
            "ptime": 1000.0 * self.steps[most].size / self.clock if self.steps[most].count and self.clock else None,
            "skew_ppm": (
                1e6 * (self.drift_n * self.drift_xy - self.drift_x * self.drift_y) / spread if drifted else None
            ),
            "bursts": order.bursts,
            # Mean run against that of random loss, 1 / (1 − p): ITU-T G.107 §3.5, BurstR
            "burst_ratio": max(1.0, <double>order.burst_lost / order.bursts * (1 - loss)) if order.bursts else None,
            "burst_max": order.burst_max,
            "discarded": self.discarded if timed else None,
        }
