"""Offers and answers (RFC 3264) of calls under way, and the media flows that they announce.

In: for each INVITE, UPDATE, PRACK, ACK, BYE, CANCEL and their responses one event, with its media where it has SDP.
Out: RTP and RTCP flows, both ways, in the flow registry.

A response belongs to the transaction of its top Via (RFC 3261 §17.1.3), so a proxy's two hops and its branches are told
apart although they share Call-ID, tags and CSeq. Each answer (1xx and 2xx, each fork for itself) completes a pair of
descriptions; the first one in an INVITE counts, later ones are to be ignored (§13.2.1). What a dialog agrees on at a
hop takes the place of what it agreed on there before. CANCEL and a final failure end their own branch, BYE its dialog,
and the call with the last confirmed one. All of it is bounded in number and in bytes, and expires by packet time. Each
step costs the same however many calls there are.

With several workers each tells its siblings of every event that changed a call, and all come to the same flows by
themselves: flows are registered locally.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t
from libc.string cimport memset

from otus_sip.calls cimport PAIRS_MAX, Pair
from otus_sip.claims cimport NO_CLAIM
from otus_sip.description cimport MEDIA_MAX
from otus_sip.media cimport Media
from otus_sip.scan cimport ACK_ID, BYE_ID, CANCEL_ID, INVITE_ID, PRACK_ID

cdef enum:
    CLAIM_WEIGHT = 256          # bytes of a claim with its share of the context

cdef int64_t SECOND = 1_000_000_000

CALL_BYTES = 2048
"""Bytes that a call may take when there are as many as allowed: a plain one takes half."""
BYTES_MIN = 4 << 20
"""Bytes that calls may take altogether, however few are allowed: room for a few as large as they get."""


@cython.final
cdef class Sessions:
    """Calls under way.

    ``flows`` is the task's flow registry or ``None``; ``publish`` tells sibling workers of each event.
    """

    def __init__(self, flows, publish, Py_ssize_t capacity, double ttl):
        self.publish = publish
        self.calls = Calls()
        self.flows = MediaFlows(flows, ttl)
        self.capacity = capacity
        self.weight_max = max(capacity * <Py_ssize_t>CALL_BYTES, <Py_ssize_t>BYTES_MIN)
        self.ttl = ttl
        self.ttl_ns = <int64_t>(ttl * SECOND)

    def __len__(self):
        return self.calls.count

    @property
    def weight(self):
        """Bytes that the calls take, about."""
        return self.calls.weight

    def take(self, message):
        """Take an event that a sibling worker published."""
        cdef Event event
        cdef bytes call_id = message[0]
        event.call_id = <const uint8_t *>PyBytes_AS_STRING(call_id)
        event.call_id_len = PyBytes_GET_SIZE(call_id)
        event.hashed = self.calls.expect(event.call_id, event.call_id_len)
        event.now, event.transaction, event.round, event.dialog, event.hop, event.method, event.status = message[1:8]
        self._apply(&event, message[8])

    cdef int event(self, const Event *event, bytes media) except -1:
        """Take one message of a call, with its media where it has SDP."""
        if self._apply(event, media) and self.publish is not None:
            call_id = PyBytes_FromStringAndSize(<const char *>event.call_id, event.call_id_len)
            self.publish((
                call_id, event.now, event.transaction, event.round, event.dialog, event.hop, event.method, event.status,
                media,
            ))
        return 0

    cdef bint _apply(self, const Event *event, bytes media) except -1:
        """Change what is known of a call; gives whether anything changed."""
        cdef bint changed
        self.answered = self.offered = False
        if event.status >= 300:
            changed = self._end_branch(event)
        elif event.status:
            changed = self._response(event, media)
        elif event.method == BYE_ID:
            changed = self._bye(event)
        elif event.method == CANCEL_ID:
            changed = self._end_branch(event)
        else:
            changed = self._request(event, media)
        if self.calls.weight > self.weight_max:
            self._let_go(event.now)
        return changed

    cdef bint _request(self, const Event *event, bytes media) except -1:
        """A request begins a call, or carries an offer, or in ACK and PRACK the answer to one that a response made."""
        cdef Call call
        if media is None and event.method != INVITE_ID:
            return False
        if event.method == ACK_ID or event.method == PRACK_ID:
            call = self.calls.find(event.hashed, event.call_id, event.call_id_len)
            if call is not None and self._take_answer(call, event, media):
                return True
            if event.method == ACK_ID:
                return False
        self._offer(self._touch(event), event, 0, b"" if media is None else media)
        return True

    cdef bint _take_answer(self, Call call, const Event *event, bytes media) except -1:
        """Take an answer to an offer that a response in this dialog made, if there is one: at this hop, else at any."""
        cdef int i
        cdef int found = -1
        for i in range(call.offer_count):
            if not event.dialog or call.offers[i].dialog != event.dialog:
                continue
            if found < 0 or call.offers[i].hop == event.hop:
                found = i
        if found < 0:
            return False
        self._agree(call, event, &call.offers[found], media)
        self.calls.drop_offer(call, found)
        return True

    cdef int _offer(self, Call call, const Event *event, uint64_t dialog, bytes media) except -1:
        """Keep an offer; an INVITE without one is kept too, since it is under way.

        What earlier rounds left is done with.
        """
        cdef Offer offer
        cdef int i = call.offer_count - 1
        self.offered = PyBytes_GET_SIZE(media) > 0
        while i >= 0 and event.method == INVITE_ID and not dialog:
            if call.offers[i].done and call.offers[i].round != event.round:
                self.calls.drop_offer(call, i)
            i -= 1
        offer.transaction, offer.round, offer.hop, offer.dialog = event.transaction, event.round, event.hop, dialog
        offer.media = <PyObject *>media
        offer.done = False
        return self.calls.put_offer(call, &offer)

    cdef bint _response(self, const Event *event, bytes media) except -1:
        """A 1xx or 2xx with SDP answers an offer, or makes one; a 2xx ends the offer, that to INVITE confirms the
        dialog.
        """
        cdef Call call = self.calls.find(event.hashed, event.call_id, event.call_id_len)
        cdef int i
        if call is None:    # a response alone makes no call: it may be a late one, of a call that has ended
            return False
        if media is not None:
            i = _offer_of(call, event)
            if i >= 0:
                self._take_description(call, event, i, media)
        if event.status < 200:
            return media is not None
        i = call.offer_count - 1
        while i >= 0:
            if call.offers[i].transaction == event.transaction:
                if event.method == INVITE_ID:       # each fork of an INVITE has a 2xx of its own (RFC 3261 §13.2.2.4)
                    call.offers[i].done = True
                else:
                    self.calls.drop_offer(call, i)
            i -= 1
        if event.method == INVITE_ID:
            self._confirm(call, event)
        return True

    cdef int _take_description(self, Call call, const Event *event, int i, bytes media) except -1:
        """A response to the request of offer ``i`` has a description."""
        cdef int at = call.pair_of(event.dialog, event.hop)
        if event.method == INVITE_ID and at >= 0 and call.pairs[at].invite == call.offers[i].transaction:
            return 0        # not the first one of this INVITE: to be ignored (RFC 3261 §13.2.1)
        if PyBytes_GET_SIZE(<object>call.offers[i].media):
            return self._agree(call, event, &call.offers[i], media)
        if event.method == INVITE_ID:
            return self._offer(call, event, event.dialog, media)
        return 0

    cdef int _confirm(self, Call call, const Event *event) except -1:
        """A dialog is confirmed by a 2xx to INVITE."""
        cdef Pair pair
        cdef bint known = False
        cdef int i
        for i in range(call.pair_count):
            if call.pairs[i].dialog == event.dialog:
                call.pairs[i].confirmed = known = True
        if known:
            return 0
        memset(&pair, 0, sizeof(Pair))
        pair.dialog, pair.round, pair.invite_round = event.dialog, event.round, event.round
        pair.claims = NO_CLAIM
        pair.confirmed = True
        if call.pair_count >= PAIRS_MAX:
            self._drop_pair(call, _least(call))
        self.calls.put_pair(call, &pair)
        return 0

    cdef bint _bye(self, const Event *event) except -1:
        """BYE ends its dialog, and with the last confirmed one the call: early ones that are left are forks that lost
        (RFC 3261 §13.2.2.4).
        """
        cdef Call call = self.calls.find(event.hashed, event.call_id, event.call_id_len)
        cdef bint confirmed = False
        cdef int i
        if call is None:
            return False
        i = call.pair_count - 1
        while i >= 0:
            if call.pairs[i].dialog == event.dialog:
                confirmed |= call.pairs[i].confirmed
                self._drop_pair(call, i)
            i -= 1
        if not call.is_confirmed() and (confirmed or (call.pair_count == 0 and call.offer_count <= 1)):
            self._forget(call)
        return True

    cdef bint _end_branch(self, const Event *event) except -1:
        """CANCEL or a final failure: the transaction ends, with what it began (RFC 3261 §9.1, §17.1.3).

        Other branches of the call go on, and so does what is confirmed.
        """
        cdef Call call = self.calls.find(event.hashed, event.call_id, event.call_id_len)
        cdef bint changed = False
        cdef int i
        if call is None:
            return False
        i = call.offer_count - 1
        while i >= 0:
            if call.offers[i].transaction == event.transaction and not call.offers[i].done:
                self.calls.drop_offer(call, i)
                changed = True
            i -= 1
        if event.method == INVITE_ID or event.method == CANCEL_ID:
            i = call.pair_count - 1
            while i >= 0:
                if not call.pairs[i].confirmed and (call.pairs[i].invite == event.transaction
                                                    or call.pairs[i].dialog == event.dialog):
                    self._drop_pair(call, i)
                    changed = True
                i -= 1
        if not call.offer_count and not call.pair_count:
            self._forget(call)
            return True
        return changed

    cdef Call _touch(self, const Event *event):
        """Give the call, made new or the most recent."""
        cdef Call call = self.calls.find(event.hashed, event.call_id, event.call_id_len)
        if call is None:
            if self.calls.by_touch.oldest != NULL:
                self._let_go(event.now)
            call = self.calls.add(event.hashed, event.call_id, event.call_id_len)
        else:
            self.calls.touch(call)
        call.touched = event.now
        return call

    cdef int _let_go(self, int64_t now) except -1:
        """Forget the oldest calls that have expired, are one too many or make all of them too large; their flows expire
        by themselves.
        """
        cdef Call oldest = self.calls.eldest()
        cdef int expired = 0
        while oldest is not None:
            if self.calls.count < self.capacity and self.calls.weight <= self.weight_max:
                expired += 1
                if now - oldest.touched < self.ttl_ns or expired > 4:
                    break
            self._evict(oldest)
            oldest = self.calls.eldest()
        return 0

    cdef int _evict(self, Call call) except -1:
        cdef int i
        for i in range(call.pair_count):
            self.flows.abandon(call.pairs[i].claims)
        self.evicted += 1
        self.calls.remove(call)
        return 0

    cdef int _agree(self, Call call, const Event *event, const Offer *offer, bytes answer) except -1:
        """An offer has its answer: register the flows of each media line that both sides accept (RFC 3264 §6: line i
        answers line i).
        """
        cdef bytes offered = <bytes>offer.media
        cdef const Media *one = <const Media *>PyBytes_AS_STRING(offered)
        cdef const Media *other = <const Media *>PyBytes_AS_STRING(answer)
        cdef Py_ssize_t lines = min(PyBytes_GET_SIZE(offered), PyBytes_GET_SIZE(answer)) // <Py_ssize_t>sizeof(Media)
        cdef int at = self._agree_at(call, event, offer)
        cdef int32_t before = call.pairs[at].claims
        cdef int32_t claims = NO_CLAIM
        cdef Py_ssize_t i
        cdef Py_ssize_t claimed = self.flows.claims.count
        self.answered = True
        for i in range(min(lines, MEDIA_MAX)):
            claims = self.flows.announce(call, &one[i], &other[i], claims)
        self.calls.weigh(call, (self.flows.claims.count - claimed) * CLAIM_WEIGHT)
        call.pairs[at].claims = claims
        # After the new ones, so that a flow that stays is not taken away meanwhile
        return self._release(call, before)

    cdef int _agree_at(self, Call call, const Event *event, const Offer *offer) except -1:
        """Give the index of the pair that this agreement is for: that of the dialog at this hop, or a new one."""
        cdef int at = call.pair_of(event.dialog, event.hop)
        cdef bint confirmed = False
        cdef Pair *pair
        cdef Pair made
        cdef int i
        if at < 0:
            for i in range(call.pair_count):
                pair = &call.pairs[i]
                if pair.dialog != event.dialog:
                    continue
                confirmed |= pair.confirmed
                if pair.round != offer.round and pair.invite_round != offer.round:
                    # Signalling goes another way now: nothing will replace this one at its hop
                    self._release(call, pair.claims)
                    pair.claims = NO_CLAIM
            if call.pair_count >= PAIRS_MAX:
                self._drop_pair(call, _least(call))
            memset(&made, 0, sizeof(Pair))
            made.dialog, made.hop, made.confirmed = event.dialog, event.hop, confirmed
            made.claims = NO_CLAIM
            self.calls.put_pair(call, &made)
            at = call.pair_count - 1
        pair = &call.pairs[at]
        pair.round = offer.round
        if event.method == INVITE_ID or offer.dialog:       # the offer that a response made is one of an INVITE's
            pair.invite, pair.invite_round = offer.transaction, offer.round
        return at

    cdef int _release(self, Call call, int32_t claims) except -1:
        self.calls.weigh(call, -CLAIM_WEIGHT * self.flows.release(claims))
        return 0

    cdef int _drop_pair(self, Call call, int i) except -1:
        self._release(call, call.pairs[i].claims)
        self.calls.drop_pair(call, i)
        return 0

    cdef int _forget(self, Call call) except -1:
        cdef int i
        for i in range(call.pair_count):
            self._release(call, call.pairs[i].claims)
        self.calls.remove(call)
        return 0


cdef int _offer_of(Call call, const Event *event) noexcept:
    """Give the index of the offer that a response is about: of its transaction, at its hop where several hops show one
    transaction; else, of the same request at its hop; -1 for none.
    """
    cdef int found = -1
    cdef int similar = -1
    cdef int i
    cdef Offer *offer
    for i in range(call.offer_count):
        offer = &call.offers[i]
        if offer.dialog:
            continue
        if offer.transaction == event.transaction:
            if offer.hop == event.hop:
                return i
            found = i
        elif offer.round == event.round and offer.hop == event.hop and event.hop:
            similar = i
    return found if found >= 0 else similar


cdef int _least(Call call) noexcept:
    """Give the index of the pair to do without: the oldest of a dialog that is not confirmed, else the oldest."""
    cdef int i
    for i in range(call.pair_count):
        if not call.pairs[i].confirmed:
            return i
    return 0
