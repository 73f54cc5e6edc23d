"""The calls that are under way: which call a message belongs to, and when one is to be reported.

A call is a Call-ID and the From tag of its first INVITE: one Call-ID may stand for several calls, of which messages
cross each other, where a server that calls on keeps it.
"""

cimport cython

from otus_calls.transitions import TIMER_B_NS

from otus_calls.note cimport BYE, INVITE
from otus_calls.replay cimport replay

cdef enum:
    SAME_ID_MAX = 64            # calls with one Call-ID; more are messages of the newest
    SHOWN_BEGUN = 1
    SHOWN_ENDED = 2
    SHOWN_MAX = 4096            # calls that are shown at a tick; others wait for the next
    PAST_MAX = 256              # calls in a row that were looked at before: so are those behind them
    GONE_MAX = 65536            # calls that were reported and are remembered, so that what comes late begins none
    KEPT_FIRST = 4              # of so many messages that are kept, one is among the newest

cdef int64_t SETTLED_NS = 2_000_000_000     # messages of other workers have arrived by then
cdef int64_t _TIMER_B = TIMER_B_NS
cdef int64_t _NEVER = <int64_t>0x7FFFFFFFFFFFFFFF


@cython.final
@cython.trashcan(True)      # calls form a chain: freeing the first must not free the others one inside the other
cdef class Call:
    """One call and what is known of it."""

    @property
    def messages(self):
        return len(self.notes) + self.cut

    @property
    def settled(self):
        """Whether the search for legs was shown how it ended."""
        return self.shown == SHOWN_ENDED

    cdef int add(self, Note note, Py_ssize_t most) except -1:
        """Keep a message; beyond ``most`` the middle gives way, because beginning and end tell what became of it."""
        cdef Note before
        if len(self.notes) >= most:
            del self.notes[most - most // KEPT_FIRST]
            self.cut += 1
        if self.notes:                      # most messages have the tag and the branch of the one before
            before = <Note>self.notes[len(self.notes) - 1]
            if before.to_tag == note.to_tag:
                note.to_tag = before.to_tag
            if before.branch == note.branch:
                note.branch = before.branch
        self.notes.append(note)
        if note.time > self.last:
            self.last = note.time
        return 0

    cdef Outcome outcome(self, int64_t now):
        return replay(self.notes, now, self.silent)

    def outcome_by(self, now):
        """Give what became of it by ``now``, in ns since 1970."""
        return self.outcome(<int64_t>now)

    def __repr__(self):
        return f"<Call {self.call_id!r}, {self.messages} messages>"


@cython.final
cdef class Table:
    """Calls by Call-ID and tag. ``most`` calls at a time, ``notes_most`` messages of each; times in ns."""

    def __init__(self, *, most, notes_most, linger, ring_timeout, talk_timeout):
        self.groups = {}
        self.gone = {}
        self.most = most
        self.notes_most = notes_most
        self.soonest = _NEVER
        self.linger = linger
        self.ring_timeout = ring_timeout
        self.talk_timeout = talk_timeout

    def __len__(self):
        return self.count

    cdef Call find(self, bytes call_id, bytes from_tag, bytes to_tag):
        """Give the call that these tags belong to: requests go both ways, so either tag may be the caller's."""
        cdef Call call
        found = self.groups.get(call_id)
        if found is None:
            return None
        if type(found) is Call:
            call = <Call>found
            return call if call.from_tag == from_tag or call.from_tag == to_tag else None
        for call in <list>found:
            if call.from_tag == from_tag:
                return call
        for call in <list>found:
            if call.from_tag == to_tag:
                return call
        return None

    def of(self, call_id, tag=None):
        """Give the calls with a Call-ID, or those among them that a tag belongs to if there are such."""
        found = self.groups.get(call_id)
        if found is None:
            return []
        calls = [found] if type(found) is Call else list(found)
        chosen = [one for one in calls if tag and _has_tag(one, tag)]
        return chosen or calls

    cdef Call take(self, tuple signalling, Note note):
        """Put a message with its call; ``None`` if it belongs to none and begins none."""
        cdef bytes call_id = <bytes>signalling[0]
        cdef bytes from_tag = <bytes>signalling[1]
        cdef Call call = self.find(call_id, from_tag, note.to_tag)
        if call is None:
            if note.status or note.method_id != INVITE or note.to_tag:
                if note.method_id != INVITE and (note.status or note.method_id != BYE) or call_id in self.gone:
                    return None
            call = self._begin(call_id, from_tag, note)
        note.by_caller = call.from_tag == from_tag
        call.add(note, self.notes_most)
        self._advance(call, note)
        if call is not self.newest:
            self._unlink(call)
            self._link(call)
        return call

    def _begin(self, bytes call_id, bytes from_tag, Note note):
        cdef Call call = Call.__new__(Call)
        call.call_id = call_id
        call.from_tag = from_tag
        call.notes = []
        call.first = call.last = note.time
        found = self.groups.get(call_id)
        if found is None:
            self.groups[call_id] = call
        elif type(found) is Call:
            self.groups[call_id] = [found, call]
        else:
            if len(<list>found) >= SAME_ID_MAX:
                return (<list>found)[len(<list>found) - 1]
            (<list>found).append(call)
        self._link(call)
        self.count += 1
        return call

    cdef int _advance(self, Call call, Note note) except -1:
        """Say how long the call is waited for; what became of it is told by ``replay`` alone."""
        cdef int64_t wait
        if note.method_id == BYE:
            call.phase = OVER
        elif note.method_id == INVITE and call.phase != TALKING and note.by_caller:
            if note.status == 0 and not note.to_tag:
                call.phase = CALLING
            elif 100 < note.status < 200 and call.phase == CALLING:
                call.phase = RINGING
            elif 200 <= note.status < 300:
                call.phase = TALKING
            elif note.status >= 300 and call.phase != OVER:
                call.phase = OVER
        elif note.method_id != INVITE and call.phase == CALLING and note.to_tag and note.status == 0:
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

    cdef int _link(self, Call call) except -1:
        call.newer = None
        call.older = self.newest
        if self.newest is not None:
            self.newest.newer = call
        else:
            self.oldest = call
        self.newest = call
        return 0

    cdef int _unlink(self, Call call) except -1:
        if call.older is not None:
            call.older.newer = call.newer
        else:
            self.oldest = call.newer
        if call.newer is not None:
            call.newer.older = call.older
        else:
            self.newest = call.older
        call.older = call.newer = None
        return 0

    def lose(self, Call call not None, until):
        """Report a call that talks at ``until`` if nothing more comes: its media have ended, and no BYE was seen."""
        if call.phase == TALKING:
            call.due = until
            if call.due < self.soonest:
                self.soonest = call.due

    def surplus(self):
        """Take out and give the call that has been silent longest, if there are more than there may be."""
        if self.count <= self.most:
            return None
        found = self.oldest
        self.remove(found)
        return found

    def remove(self, Call call not None):
        """Forget a call."""
        found = self.groups.get(call.call_id)
        if found is call:
            del self.groups[call.call_id]
        elif type(found) is list and call in found:
            (<list>found).remove(call)
            if not found:
                del self.groups[call.call_id]
        else:
            return
        self._unlink(call)
        self.count -= 1
        if len(self.gone) >= GONE_MAX:
            del self.gone[next(iter(self.gone))]
        self.gone[call.call_id] = None

    def due(self, int64_t now):
        """Give the calls that are to be reported by ``now``."""
        cdef Call call = self.oldest
        cdef list found = []
        if now < self.soonest:
            return found
        self.soonest = _NEVER
        while call is not None:
            if call.due <= now:
                found.append(call)
            elif call.due < self.soonest:
                self.soonest = call.due
            call = call.newer
        if found:
            self.soonest = now              # until they are taken out
        return found

    def news(self, int64_t now):
        """Give the calls of which there is something new to be shown: they have begun, or have ended, a while ago."""
        cdef Call call = self.newest
        cdef list found = []
        cdef int64_t until = self.looked - SETTLED_NS
        cdef int past = 0
        self.looked = now - SETTLED_NS
        while call is not None and past < PAST_MAX:
            if len(found) == SHOWN_MAX:
                self.looked = 0             # there are more: all are looked at the next time
                break
            if call.shown < SHOWN_ENDED and now - call.last > SETTLED_NS and (call.phase == OVER or not call.shown):
                call.shown = SHOWN_ENDED if call.phase == OVER else SHOWN_BEGUN
                found.append(call)
                past = 0
            elif call.last < until:
                past += 1
            call = call.older
        return found

    def calls(self):
        """Give all calls, the one that has been silent longest first."""
        cdef Call call = self.oldest
        cdef list found = []
        while call is not None:
            found.append(call)
            call = call.newer
        return found


def _has_tag(Call call, bytes tag):
    cdef Note note
    if call.from_tag == tag:
        return True
    for note in call.notes:
        if note.to_tag == tag:
            return True
    return False
