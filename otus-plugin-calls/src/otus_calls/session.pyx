"""What the parties agreed on, and when: offers and answers of a call in turn (RFC 3264).

Media change with the answer, not with the offer: a re-INVITE that is refused changes nothing (RFC 3261 §14.1).
"""

cimport cython
from libc.stdint cimport int32_t, int64_t

from otus_calls.note cimport Note
from otus_calls.replay cimport Outcome
from otus_calls.sdp cimport endpoints, is_fax, is_held, read_sdp

CALLER, CALLEE = "caller", "callee"
cdef str _CALLER = CALLER
cdef str _CALLEE = CALLEE
cdef enum:
    HOLDS_MAX = 64              # times on hold that are told one by one


@cython.final
cdef class Session:
    """What came of the offers."""

    def __init__(self):
        self.lines = {}
        self.offered = []
        self.said = []
        self.hold = []

    def listens(self, side):
        """Give everywhere that a party said it listens."""
        return set().union(*[endpoints(lines) for by, lines in self.said if by == side])

    cdef set codecs(self):
        """Give the names of all codecs that were agreed on, in lower case."""
        return {codec.lower() for lines in self.agreed or () for one in lines for codec in one["codecs"]}

    cdef int _agree(self, int64_t at, str offerer, list offer, list answer) except -1:
        """An offer was answered at ``at``."""
        if self.agreed is None:
            self.agreed = []
        self.agreed += [offer, answer]
        self.lines = {offerer: offer, other_side(offerer): answer}
        self.t38 = self.t38 or (is_fax(offer) and is_fax(answer))
        self._set_hold(offerer, is_held(offer), at)
        self._set_hold(other_side(offerer), is_held(answer), at)
        return 0

    cdef int _set_hold(self, str side, bint held, int64_t at) except -1:
        cdef dict last = None
        if not held and not self.hold:
            return 0
        for one in reversed(self.hold):
            if one["by"] == side:
                last = one
                break
        if held and (last is None or last["to"] is not None) and len(self.hold) < HOLDS_MAX:
            self.hold.append({"by": side, "from": at, "to": None})
        elif not held and last is not None and last["to"] is None:
            last["to"] = at
        return 0

    cdef int64_t held_for(self, int64_t begin, int64_t end) except -1:
        """Give how many ns between two times at least one party held the other."""
        cdef int64_t total = 0
        cdef int64_t reached = begin
        cdef int64_t first
        cdef int64_t last
        for first, last in sorted([(max(one["from"], begin), min(one["to"] or end, end)) for one in self.hold]):
            if last > reached:
                total += last - max(first, reached)
                reached = last
        return total


cdef str other_side(str side):
    """Give the other party."""
    return _CALLEE if side == _CALLER else _CALLER


cdef Session read_session(Outcome outcome, list described):
    """Follow the offers and answers in the messages of a call. The media lines of each message, ``None`` for one that
    has no description, are added to ``described``.
    """
    cdef Session session = Session()
    cdef dict pending = {}      # offers that wait for an answer, by CSeq and whether the caller asked: (side, lines)
    cdef Note note
    cdef int32_t i
    cdef list lines
    cdef str asker
    cdef str side
    for i in range(outcome.count):
        if not outcome.order[i].described:
            described.append(None)
            continue
        note = outcome.note(i)
        lines = read_sdp(note.body)
        described.append(lines)
        if not lines or note.repeat:
            continue
        asker = _CALLER if note.from_caller else _CALLEE
        side = asker if note.status == 0 else other_side(asker)
        session.said.append((side, lines))
        if not session.offered:
            session.offered = lines
        if note.status < 300:
            _follow(session, pending, note, asker, side, lines)
    return session


def session_of(Outcome outcome not None):
    """Give the session of a call, without the media lines of each message."""
    return read_session(outcome, [])


cdef int _follow(Session session, dict pending, Note note, str asker, str side, list lines) except -1:
    cdef tuple key = (note.cseq, note.from_caller)
    cdef tuple waiting = pending.get(key)
    if note.status == 0:
        if (note.method == "ACK" or note.method == "PRACK") and waiting is not None and waiting[0] != side:
            session._agree(note.time, waiting[0], waiting[1], lines)
        elif note.method != "ACK":
            pending[key] = (side, lines)
    elif waiting is None:       # RFC 3261 §13.2.1: the offer is in the answer, its answer in the ACK
        pending[key] = (side, lines)
    elif waiting[0] == asker:
        session._agree(note.time, asker, waiting[1], lines)
    return 0
