from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    WORDS = 64                  # of the window: 4,096 sequence numbers
    STEPS_MAX = 4               # timestamp steps that are told apart
    TYPES_MAX = 8               # payload types that are told apart


cdef enum Kind:                 # what a payload type carries
    MEDIA = 0
    EVENT = 1                   # RFC 4733
    NOISE = 2                   # comfort noise, RFC 3389


cdef enum Fate:
    FRESH = 0
    DUPLICATE = 1
    STRAY = 2                   # its sequence number belongs nowhere


# One RTP packet (RFC 3550 §5.1); numbers in host order.
cdef struct Arrival:
    int64_t at                  # ns since 1970
    const uint8_t *payload      # behind header, CSRCs and extension
    uint32_t payload_len        # without padding
    uint32_t size               # of the whole packet
    uint32_t timestamp
    uint32_t ssrc
    uint16_t sequence
    uint8_t payload_type
    uint8_t marker


cdef struct Step:
    int32_t size                # RTP clock units
    uint32_t count


cdef struct TypeCount:
    uint64_t packets
    uint8_t payload_type


# Extended sequence numbers (RFC 3550 A.1), which of the last 4,096 have come, and runs of those that did not.
cdef struct Sequence:
    int64_t base
    int64_t top                 # the highest so far
    int64_t settled             # the first one that may still come late
    int64_t expected_before     # before the last reset
    int64_t packets
    int64_t duplicates
    int64_t reordered
    int64_t resets
    int64_t strays
    int64_t bursts              # runs of loss that have ended
    int64_t burst_lost
    int64_t burst_max
    int64_t run                 # of loss, up to ``settled``
    int32_t expects             # the number behind a stray one, −1 for none
    uint32_t stray_size
    bint begun
    bint probation
    uint64_t[WORDS] seen


# What each packet touches stands together, in the order of its use: with thousands of streams under way, most of the
# time goes into fetching it from memory.
cdef class Stream:
    cdef readonly uint32_t ssrc
    cdef public int dscp        # of its first packet, −1 until that was looked at
    cdef readonly int64_t first
    cdef readonly int64_t last
    cdef int64_t touched        # when it took its place in the order of use
    cdef readonly uint64_t bytes
    # What the payload type of the last packet means
    cdef int payload_type
    cdef Kind kind
    cdef uint32_t clock
    cdef bint frames            # a marker ends a frame of video
    cdef double unit            # ns
    cdef int64_t gap            # how many numbers the last packet left out
    # The last packet of media, and what lies between them
    cdef bint timed
    cdef bint pause             # no sample up to the next packet
    cdef int timed_type
    cdef uint32_t timed_timestamp
    cdef int64_t timed_at
    cdef uint16_t timed_sequence
    cdef int type_count
    cdef double jitter          # ns
    cdef double jitter_sum
    cdef double jitter_max
    cdef int64_t samples
    cdef int64_t delta_min
    cdef int64_t delta_max
    cdef int64_t delta_sum
    # Media time, and how arrivals drift from it (least squares)
    cdef double media           # ns since the first packet
    cdef int64_t drift_from
    cdef double drift_media
    cdef double drift_n, drift_x, drift_y, drift_xx, drift_xy
    # The play-out buffer
    cdef double anchor          # the least transit of this half of the time it is kept for
    cdef double anchor_before
    cdef int64_t anchored
    cdef int64_t discarded
    cdef int late
    cdef Step[STEPS_MAX] steps
    cdef TypeCount[TYPES_MAX] types
    cdef Sequence order
    # What few packets touch
    cdef readonly object flow   # the 5-tuple that it belongs to
    cdef Stream older           # in the order of use
    cdef Stream newer
    cdef public object matches  # of the flow registry, when the stream was matched
    cdef public object codecs   # payload type → (name, clock rate), as SDP says
    cdef public list events
    cdef public dict remote     # what RTCP says of it
    cdef public dict said       # what the parties say of it by SIP
    cdef tuple owners           # of its matches, when it was put into the table
    cdef public dict sent       # middle of a sender report's NTP time → when it passed
    cdef public tuple reported  # highest sequence number and losses of the last report
    cdef public str match
    cdef public bint bye
    cdef public bint capture_loss
    cdef public int64_t told    # when the last record was emitted
    cdef public tuple told_figures
    cdef int64_t event_at       # RTP timestamp of the event under way, −1 for none

    cdef Fate add(self, const Arrival *one) noexcept
    cdef int learn(self, int payload_type) except -1
    cdef void _count_type(self, uint8_t payload_type) noexcept
    cdef void _time(self, const Arrival *one) noexcept
    cdef void _count_step(self, int32_t step) noexcept
    cdef void _play(self, const Arrival *one, double moved, int64_t delta) noexcept
    cdef void _anchor(self, double transit, int64_t at) noexcept
