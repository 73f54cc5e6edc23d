from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
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


# Extended sequence numbers (RFC 3550 A.1), which of the last 128 have come, and runs of those that did not. What each
# packet touches stands first.
cdef struct Sequence:
    int64_t top                 # the highest so far
    int64_t settled             # the first one that may still come late; less than 100 below ``top``
    uint64_t[2] seen            # a bit for each of the last 128 numbers
    int64_t packets
    int64_t run                 # of loss, up to ``settled``
    int32_t expects             # the number behind a stray one, −1 for none
    uint8_t begun
    uint8_t probation
    # What few packets touch
    int64_t base
    int64_t expected_before     # before the last reset
    int64_t duplicates
    int64_t reordered
    int64_t resets
    int64_t strays
    int64_t bursts              # runs of loss that have ended
    int64_t burst_lost
    int64_t burst_max
    uint32_t stray_size


# What each packet touches stands together, in as few lines of memory as it takes: with thousands of streams under way,
# most of the time goes into fetching them.
cdef class Stream:
    cdef readonly uint32_t ssrc
    # What the payload type of the last packet means
    cdef int16_t payload_type
    cdef uint8_t kind
    cdef uint8_t frames         # a marker ends a frame of video
    cdef uint32_t clock
    cdef double unit            # ns
    cdef readonly int64_t first
    cdef readonly int64_t last
    cdef int64_t touched        # when it took its place in the order of use
    cdef readonly uint64_t bytes
    cdef public int8_t dscp     # of its first packet, −1 until that was looked at
    # The last packet of media, and what lies between them
    cdef uint8_t timed
    cdef uint8_t pause          # no sample up to the next packet
    cdef uint8_t timed_type
    cdef uint16_t timed_sequence
    cdef uint8_t late           # packets in a row
    cdef uint32_t timed_timestamp
    cdef uint32_t gap           # how many numbers the last packet left out
    cdef int64_t timed_at
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
    cdef Step[STEPS_MAX] steps
    cdef Sequence order
    # What few packets touch
    cdef int64_t discarded
    cdef TypeCount[TYPES_MAX] types
    cdef int type_count
    cdef int counted_type       # of the packets behind the first ``counted`` ones, which ``types`` has
    cdef int64_t counted
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
    cdef void _count_types(self) noexcept
    cdef void _time(self, const Arrival *one) noexcept
    cdef void _count_step(self, int32_t step) noexcept
    cdef void _play(self, const Arrival *one, double moved, int64_t delta) noexcept
    cdef void _anchor(self, double transit, int64_t at) noexcept
