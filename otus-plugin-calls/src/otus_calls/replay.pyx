"""What became of a call: its messages, in the order of their time, through the tables of ``transitions``.

This runs when a call is reported and not for each message, so messages may have come in any order.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.string cimport memcmp, memcpy

from otus_core.inline.signalling cimport ACK, BYE, CANCEL, INVITE

from otus_calls.names import STATES
from otus_calls.transitions import EVENTS, STATUS_EVENTS, TABLE, TIMER_B_NS

from otus_calls.note cimport DUPLICATE, NO_REPEAT, RETRANSMISSION, is_from, is_to, prefetch, tell_note, text_of

cdef enum:
    EVENT_KINDS = 16
    STATE_KINDS = 16
    STATUSES = 700
    UNCHANGED = 255
    DUPLICATE_NS = 20_000_000   # a mirror port's copy comes at once, a retransmission after T1, 500 ms

cdef int64_t _TIMER_B = TIMER_B_NS
cdef uint8_t _table[STATE_KINDS][EVENT_KINDS]
cdef uint8_t _status_event[STATUSES]
cdef dict _event_number = {name: number for number, name in enumerate(EVENTS)}
cdef int _INVITE = _event_number["invite"]
cdef int _RINGING = _event_number["ringing"]
cdef int _EARLY = _event_number["early_media"]
cdef int _ANSWER = _event_number["answer"]
cdef int _CHALLENGE = _event_number["challenge"]
cdef int _BYE = _event_number["bye"]
cdef int _TIMER = _event_number["timer_b"]
cdef int _SILENCE = _event_number["silence"]
cdef int _TRYING_STATE = STATES.index("trying")
cdef int _IN_CALL = STATES.index("in_call")
cdef int _COMPLETED = STATES.index("completed")


cdef int _fill() except -1:
    cdef int state
    cdef int event
    for state in range(STATE_KINDS):
        for event in range(EVENT_KINDS):
            _table[state][event] = UNCHANGED
    for (before, happened), after in TABLE.items():
        _table[<int>STATES.index(before)][<int>_event_number[happened]] = <uint8_t>STATES.index(after)
    for codes, happened in sorted(STATUS_EVENTS.items(), key=lambda one: isinstance(one[0], int)):
        for code in (codes,) if isinstance(codes, int) else codes:
            _status_event[<int>code] = <uint8_t>_event_number[happened]
    return 0


_fill()


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Outcome:
    """What became of one call. ``replay`` makes it; it holds while the call takes no further message."""

    def __dealloc__(self):
        PyMem_Free(self.order)

    @property
    def state(self):
        return STATES[self.state_number]

    @property
    def notes(self):
        """The messages, in the order of their time."""
        cdef int32_t i
        return [self.note(i) for i in range(self.count)]

    @property
    def first(self):
        return self.note(0)

    @property
    def invite(self):
        return self.note(self.invite_at)

    @property
    def final(self):
        return self.note(self.final_at)

    @property
    def challenge(self):
        return self.note(self.challenge_at)

    @property
    def accepted(self):
        return self.note(self.accepted_at)

    @property
    def bye_note(self):
        return self.note(self.bye_at)

    @property
    def caller(self):
        """The address and the port of the caller."""
        cdef Note note
        cdef int32_t i
        for i in range(self.count):
            if is_from(self.order[i], &self.caller_flow):
                note = self.note(i)
                return note.src, note.sport
            if is_to(self.order[i], &self.caller_flow):
                note = self.note(i)
                return note.dst, note.dport
        return "", 0

    cdef Note note(self, int32_t at):
        """Give one message by its place in the order of time, ``None`` for -1."""
        if at < 0:
            return None
        if self.told is None:
            self.told = [None] * self.count
        if self.told[at] is None:
            self.told[at] = tell_note(self.order[at])
        return <Note>self.told[at]

    cdef const Packed *first_note(self) noexcept:
        """Give the first INVITE, or else the first message."""
        return self.order[0 if self.invite_at < 0 else self.invite_at]

    cdef int _put_in_order(self) except -1:
        """Put the notes in the order of their time; nearly always they are."""
        cdef Packed *note
        cdef int32_t i
        cdef int32_t j
        self.count = <int32_t>self.call.count
        self.order = <Packed **>PyMem_Malloc(self.count * sizeof(Packed *))
        if self.order == NULL:
            raise MemoryError
        for i in range(self.count):     # they lie apart, and came a while ago: the memory of all is asked for at once
            prefetch(self.call.notes[i])
        for i in range(self.count):
            note = self.call.notes[i]
            j = i
            while j > 0 and self.order[j - 1].time > note.time:
                self.order[j] = self.order[j - 1]
                j -= 1
            self.order[j] = note
        return 0

    cdef int _mark(self) noexcept:
        """Tell messages from their copies and retransmissions (RFC 3261 §17): the same transaction, the same ends."""
        cdef Packed *note
        cdef Packed *other
        cdef int32_t i
        cdef int32_t j
        for i in range(self.count):
            note = self.order[i]
            note.repeat = NO_REPEAT
            for j in range(i - 1, -1, -1):
                other = self.order[j]
                if other.ident == note.ident:
                    note.repeat = RETRANSMISSION
                    if other.digest == note.digest and note.time - other.time <= DUPLICATE_NS:
                        note.repeat = DUPLICATE
                    break
            if note.repeat == DUPLICATE:
                self.duplicates += 1
            elif note.repeat == RETRANSMISSION:
                self.retransmissions += 1
        return 0

    cdef int _find_caller(self) noexcept:
        """Find who began: who sent the first INVITE, or else the party that the other messages are from or to."""
        cdef Packed *note
        cdef int32_t i
        for i in range(self.count):
            note = self.order[i]
            if note.method == INVITE and note.status == 0 and not note.to_tag and note.by_caller:
                self.invite_at = i
                self.caller_flow = note.flow
                return 0
        self.partial = True
        note = self.order[0]
        self.caller_flow = note.flow
        if note.by_caller != (note.status == 0):
            memcpy(self.caller_flow.src, note.flow.dst, sizeof(note.flow.dst))
            self.caller_flow.src_port = note.flow.dst_port
        return 0

    cdef bint _is_first_hop(self, const Packed *note, Seen *seen) noexcept:
        """Whether a message passes at the caller. A response belongs to the request whose branch it has (RFC 3261
        §17.1.3); without branches, as before RFC 3261, the addresses tell.
        """
        cdef int32_t i
        cdef bint known = False
        for i in range(seen.branch_count):
            if _same_branch(seen.branches[i], note):
                known = True
                break
        if note.status == 0:
            if not is_from(note, &self.caller_flow):
                return False
            if not known and seen.branch_count < BRANCHES_MAX:
                seen.branches[seen.branch_count] = note
                seen.branch_count += 1
            return True
        if note.branch and seen.branch_count:
            return known
        return is_to(note, &self.caller_flow)

    cdef int _event(self, int event) noexcept:
        cdef int after = _table[self.state_number][event]
        if after != UNCHANGED:
            self.state_number = after
        return 0

    cdef int _run(self, int64_t now) noexcept:
        cdef Seen seen
        cdef Packed *note
        cdef int32_t i
        seen.branch_count = 0
        seen.invite_cseq = -1
        seen.heard = False
        for i in range(self.count):
            note = self.order[i]
            if note.repeat == NO_REPEAT:
                self._see(i, note, &seen)
            elif note.method == INVITE and 200 <= note.status < 300 and note.repeat == RETRANSMISSION:
                self.invite_ok_repeated = note.time
        if not seen.heard and now - self.attempt >= _TIMER_B and self.attempt:
            self._event(_TIMER)
            self.end = self.attempt + _TIMER_B if self.state_number != _TRYING_STATE else self.end
        if self.call.silent:
            self._event(_SILENCE)
        return 0

    cdef int _see(self, int32_t at, const Packed *note, Seen *seen) noexcept:
        """Take a message that is no repetition."""
        if note.method == INVITE and note.by_caller and (note.status or not note.to_tag or self.invite_at < 0):
            if note.status and seen.invite_cseq >= 0 and note.cseq > seen.invite_cseq:
                return 0                    # the answer to a re-INVITE
            if self._is_first_hop(note, seen) or self.invite_at < 0:
                if note.status == 0 and note.to_tag and self.invite_at < 0:
                    self.state_number = _IN_CALL        # a re-INVITE of a call that began before the capture
                    self.reinvites += 1
                    return 0
                if note.status == 0:
                    seen.invite_cseq = note.cseq
                else:
                    seen.heard = True
                self._take(at, note)
        elif note.method == INVITE and note.status == 0 and note.to_tag:
            self.reinvites += 1
        elif note.method == ACK and self.answer and not self.ack and note.time >= self.answer:
            self.ack = note.time
        elif note.method == CANCEL and note.status == 0 and not self.cancel:
            self.cancel = note.time
        elif note.method == BYE:
            self._take_bye(at, note)
        elif self.bye_answered and note.status == 0:
            self.post_bye += 1
        return 0

    cdef int _take(self, int32_t at, const Packed *note) noexcept:
        """Take an INVITE at the first hop, or a response to one."""
        cdef int event
        if note.status == 0:
            if self.state_number == _IN_CALL or self.state_number == _COMPLETED:
                return 0
            self.attempts += 1
            self.attempt = note.time
            self.reply = 0
            return self._event(_INVITE)
        event = _status_event[note.status] if 100 <= note.status < STATUSES else _RINGING
        if event == _RINGING and note.described:
            event = _EARLY
        if note.status > 100 and not self.reply:
            self.reply = note.time
        if 100 < note.status < 200:
            if not self.ring:
                self.ring = note.time
            if event == _EARLY and not self.early:
                self.early = note.time
        elif event == _ANSWER:
            if not self.answer:
                self.answer = note.time
                self.accepted_at = at
            self.final_at, self.final_status = at, note.status
        elif note.status >= 300 and not self.answer:
            if event == _CHALLENGE:
                self.challenges += 1
                self.challenge_at = at
            elif self.final_at < 0 or self.final_status < 400 or note.status != 487:
                self.final_at, self.final_status = at, note.status
            self.end = note.time
        return self._event(event)

    cdef int _take_bye(self, int32_t at, const Packed *note) noexcept:
        """Take a BYE, at whichever hop: it may go past the proxies (RFC 3261 §16.6 step 4)."""
        if note.status == 0:
            if not self.bye:
                if self.invite_at < 0 and not self.answer:
                    self.state_number = _IN_CALL        # it was answered before the capture
                self.bye = note.time
                self.bye_at = at
                self.bye_by_caller = note.by_caller
                self.end = note.time
                self._event(_BYE)
        elif 200 <= note.status < 300 and not self.bye_answered:
            self.bye_answered = note.time
        return 0


cdef inline bint _same_branch(const Packed *one, const Packed *other) noexcept:
    return one.branch == other.branch and memcmp(
        text_of(one) + one.to_tag, text_of(other) + other.to_tag, one.branch
    ) == 0


cdef Outcome replay(Call call, int64_t now):
    """Give what became of a call, which has messages, by ``now``."""
    cdef Outcome made = Outcome.__new__(Outcome)
    made.call = call
    made.invite_at = made.final_at = made.challenge_at = made.accepted_at = made.bye_at = -1
    made._put_in_order()
    made.state_number = _TRYING_STATE
    made.last = made.order[made.count - 1].time
    made._mark()
    made._find_caller()
    made.start = made.first_note().time
    made._run(now)
    return made
