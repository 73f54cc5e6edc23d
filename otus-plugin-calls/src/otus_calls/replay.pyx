"""What became of a call: its messages, in the order of their time, through the tables of ``transitions``.

This runs when a call is reported and not for each message, so messages may have come in any order.
"""

cimport cython

from otus_calls.names import STATES
from otus_calls.transitions import EVENTS, STATUS_EVENTS, TABLE, TIMER_B_NS

from otus_calls.note cimport ACK, BYE, CANCEL, DUPLICATE, INVITE, NO_REPEAT, RETRANSMISSION

cdef enum:
    EVENT_KINDS = 16
    STATE_KINDS = 16
    STATUSES = 700
    UNCHANGED = 255
    DUPLICATE_NS = 20_000_000   # a mirror port's copy comes at once, a retransmission after T1, 500 ms
    BRANCHES_MAX = 32           # transactions of the caller that are told apart

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


def _time_of(Note note not None):
    return note.time


@cython.final
cdef class Outcome:
    """What became of one call. ``replay`` makes it."""

    @property
    def state(self):
        return STATES[self.state_number]

    cdef int _mark(self) except -1:
        """Tell messages from their copies and retransmissions (RFC 3261 §17): the same transaction, the same ends."""
        cdef Note note
        cdef Note other
        cdef Py_ssize_t i
        cdef Py_ssize_t j
        for i in range(len(self.notes)):
            note = <Note>self.notes[i]
            note.repeat = NO_REPEAT
            for j in range(i - 1, -1, -1):
                other = <Note>self.notes[j]
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

    cdef int _find_caller(self) except -1:
        """Find who began: who sent the first INVITE, or else the party that the other messages are from or to."""
        cdef Note note
        for note in self.notes:
            if note.method_id == INVITE and note.status == 0 and not note.to_tag and note.by_caller:
                self.invite = note
                self.caller = (note.src, note.sport)
                return 0
        self.partial = True
        note = self.first
        self.caller = (note.src, note.sport) if note.by_caller == (note.status == 0) else (note.dst, note.dport)
        return 0

    cdef bint _is_first_hop(self, Note note, list branches) except -1:
        """Whether a message passes at the caller. A response belongs to the request whose branch it has (RFC 3261
        §17.1.3); without branches, as before RFC 3261, the addresses tell.
        """
        if note.status == 0:
            if note.src != self.caller[0] or note.sport != self.caller[1]:
                return False
            if note.branch not in branches and len(branches) < BRANCHES_MAX:
                branches.append(note.branch)
            return True
        if note.branch and branches:
            return note.branch in branches
        return note.dst == self.caller[0] and note.dport == self.caller[1]

    cdef int _event(self, int event) except -1:
        cdef int after = _table[self.state_number][event]
        if after != UNCHANGED:
            self.state_number = after
        return 0

    cdef int _take(self, Note note) except -1:
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
        if event == _RINGING and note.body is not None:
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
                self.accepted = note
            self.final = note
        elif note.status >= 300 and not self.answer:
            if event == _CHALLENGE:
                self.challenges += 1
                self.challenge = note
            elif self.final is None or self.final.status < 400 or note.status != 487:
                self.final = note
            self.end = note.time
        return self._event(event)


cdef Outcome replay(list notes, int64_t now, bint silent):
    """Give what became of a call with these notes, by ``now``; ``silent``: nothing more is to be expected of it."""
    cdef Outcome made = Outcome.__new__(Outcome)
    cdef Note note
    cdef list branches = []
    cdef int32_t invite_cseq = -1
    cdef bint heard = False
    made.notes = sorted(notes, key=_time_of) if _disordered(notes) else notes
    made.state_number = _TRYING_STATE
    made.first = <Note>made.notes[0]
    made.last = (<Note>made.notes[len(made.notes) - 1]).time
    made._mark()
    made._find_caller()
    made.start = made.first.time if made.invite is None else made.invite.time
    for note in made.notes:
        if note.repeat != NO_REPEAT:
            if note.method_id == INVITE and 200 <= note.status < 300 and note.repeat == RETRANSMISSION:
                made.invite_ok_repeated = note.time
            continue
        if note.method_id == INVITE and note.by_caller and (note.status or not note.to_tag or made.invite is None):
            if note.status and invite_cseq >= 0 and note.cseq > invite_cseq:
                continue                    # the answer to a re-INVITE
            if made._is_first_hop(note, branches) or made.invite is None:
                if note.status == 0 and note.to_tag and made.invite is None:
                    made.state_number = _IN_CALL        # a re-INVITE of a call that began before the capture
                    made.reinvites += 1
                    continue
                if note.status == 0:
                    invite_cseq = note.cseq
                elif note.status:
                    heard = True
                made._take(note)
        elif note.method_id == INVITE and note.status == 0 and note.to_tag:
            made.reinvites += 1
        elif note.method_id == ACK and made.answer and not made.ack and note.time >= made.answer:
            made.ack = note.time
        elif note.method_id == CANCEL and note.status == 0 and not made.cancel:
            made.cancel = note.time
        elif note.method_id == BYE:
            _take_bye(made, note)
        elif made.bye_answered and note.status == 0:
            made.post_bye += 1
    if not heard and now - made.attempt >= _TIMER_B and made.attempt:
        made._event(_TIMER)
        made.end = made.attempt + _TIMER_B if made.state_number != _TRYING_STATE else made.end
    if silent:
        made._event(_SILENCE)
    return made


cdef int _take_bye(Outcome made, Note note) except -1:
    """Take a BYE, at whichever hop: it may go past the proxies (RFC 3261 §16.6 step 4)."""
    if note.status == 0:
        if not made.bye:
            if made.invite is None and not made.answer:
                made.state_number = _IN_CALL            # it was answered before the capture
            made.bye = note.time
            made.bye_note = note
            made.bye_by_caller = note.by_caller
            made.end = note.time
            made._event(_BYE)
    elif 200 <= note.status < 300 and not made.bye_answered:
        made.bye_answered = note.time
    return 0


cdef bint _disordered(list notes) except -1:
    cdef int64_t before = 0
    cdef Note note
    for note in notes:
        if note.time < before:
            return True
        before = note.time
    return False
