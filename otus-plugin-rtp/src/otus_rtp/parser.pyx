"""The parser ``rtp``: packets in, records of streams out, and RTCP as messages.

A packet counts as RTP because somebody announced the endpoint that it goes to or comes from, which the flow registry
tells; once a 5-tuple is known, one look into a table finds its stream.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport Py_TYPE
from libc.stdint cimport int64_t, uint8_t

from otus_core import CONSUMED, DecodedPacket, Parsed, ParseError, Record

from otus_rtp.ends cimport party_name, says_where_it_is
from otus_rtp.packet cimport KEYS, OTHER, RTCP, Looks, look, read_header
from otus_rtp.stream cimport EVENT, FRESH, Arrival, Stream
from otus_rtp.table cimport Flow, Streams

from otus_rtp.announced import codecs_of, find_matches, is_encrypted, say_match, watched_keys
from otus_rtp.events import note_event
from otus_rtp.guess import Guess
from otus_rtp.losses import Drops, Losses
from otus_rtp.nat import Parties
from otus_rtp.quality import MODELS
from otus_rtp.remote import take_reports
from otus_rtp.report import RtcpReport, RtpPacket, call_of, moment, tell
from otus_rtp.rtcp import read_compound, read_encrypted
from otus_rtp.said import take_said

# Attributes that every packet is asked for: called where they are, instead of being looked up by name each time.
cdef object _Packet = DecodedPacket
cdef object _payload = DecodedPacket.payload
cdef object _flow = DecodedPacket.flow
cdef object _timestamp = DecodedPacket.timestamp
cdef object _CONSUMED = CONSUMED

cdef int64_t SECOND = 1_000_000_000

cdef enum:
    UDP = 17
    STREAM_SIZE = 2048          # bytes that a stream takes, about; a record keeps it
    SECURED_MAX = 4096          # 5-tuples on which keys were agreed and no stream has come yet


@cython.final
cdef class RtpParser:
    """RTP and RTCP over UDP."""

    cdef public double tick_interval
    cdef object config
    cdef object models          # of the E-model, by name in lower case
    cdef object flows           # the registry
    cdef object emit
    cdef Streams streams
    cdef dict secured           # 5-tuples on which keys were agreed
    cdef dict ended             # 5-tuples of which something was announced that no longer holds
    cdef object guess
    cdef bint guesses           # what nobody announced is followed too
    cdef object parties         # those behind NAT
    cdef dict elsewhere         # the same by name
    cdef object losses
    cdef object drops           # of the capturer
    cdef list byes              # streams that RTCP has ended, with the time when it did
    cdef bint each              # packets are reported too
    cdef int64_t interval
    cdef int64_t due            # of the next interim records
    cdef int64_t idle

    def __init__(self, config):
        self.config = config
        own = {name.lower(): (model.ie, model.bpl) for name, model in config.models.items()}
        self.models = {**MODELS, **own}
        self.each = config.packets
        self.interval = <int64_t>(config.interval * 1e9)
        self.idle = <int64_t>(config.idle_timeout * 1e9)
        self.tick_interval = min(1.0, max(0.1, config.interval)) if config.interval else 1.0
        self.streams = Streams(config.max_streams, self.idle)
        self.secured = {}
        self.ended = {}
        self.byes = []
        self.guess = Guess()
        self.guesses = config.guess
        self.parties = None
        self.elsewhere = {}
        self.losses = Losses()
        self.drops = Drops(int)

    def wire(self, context):
        self.flows = context.flows
        if self.flows is not None:
            self.parties = Parties(self.flows)
            self.elsewhere = self.parties.known
        self.drops = Drops(context.capture_drops)
        self.emit = context.emit

    def start(self):
        pass

    def stop(self):
        self.streams.clear()

    @property
    def stream_count(self):
        """Streams under way."""
        return self.streams.count

    @property
    def party_count(self):
        """Parties that are elsewhere than they announced."""
        return 0 if self.parties is None else len(self.parties)

    def take(self, packet):
        """Take in a packet: RTP goes into its stream. ``None`` for what nobody announced."""
        cdef bytes payload
        cdef const uint8_t *data
        cdef Py_ssize_t size
        cdef Looks looks
        cdef Arrival one
        cdef Flow flow
        if type(packet) is _Packet:
            payload = <bytes?>Py_TYPE(_payload).tp_descr_get(_payload, packet, _Packet)
        else:
            payload = <bytes?>packet.payload
        data = <const uint8_t *>PyBytes_AS_STRING(payload)
        size = PyBytes_GET_SIZE(payload)
        looks = look(data, size)
        if looks == OTHER:
            return None
        if looks == RTCP:
            return self._control(packet, payload)
        if type(packet) is _Packet:
            key = Py_TYPE(_flow).tp_descr_get(_flow, packet, _Packet)
            one.at = Py_TYPE(_timestamp).tp_descr_get(_timestamp, packet, _Packet)
        else:
            key = packet.flow
            one.at = packet.timestamp
        if looks == KEYS:
            self._note_keys(packet, key)
            return None
        if not read_header(data, size, &one):
            return None
        flow = self.streams.flow_of(key)
        if flow is None:
            flow = self._meet(packet, key, payload, one.at)
            if flow is None:
                return None
        return self._count(packet, flow, payload, &one)

    cdef object _count(self, object packet, Flow flow, bytes payload, Arrival *one):
        cdef Stream stream = flow.find(one.ssrc)
        if stream is None or flow.stale:
            if flow.stale:
                self._renew(flow)
            if stream is None:
                if flow.streams and flow.match != "guess" and not find_matches(self.flows, flow.key, flow.key):
                    return None     # its call is over, or it is not RTP that was agreed on since
                stream = self._begin(flow, one)
        if one.ssrc != flow.last_ssrc:
            flow.ssrc_changes += 1
            flow.last_ssrc = one.ssrc
        if flow.recent is not stream:
            flow.recent = stream
        if stream.dscp < 0:
            stream.dscp = packet.dscp
        self.streams.look_ahead(flow, stream)
        self.streams.use(stream, one.at)
        if stream.payload_type != one.payload_type:
            stream.learn(one.payload_type)
        if stream.add(one) == FRESH:
            if stream.gap:
                self.losses.note(one.at, flow.key, stream)
            if stream.kind == EVENT:
                self._note_event(stream, one)
        if self.each:
            told = RtpPacket(payload, stream)
            return Parsed(told, told.labels(), payload, "rtp")
        return _CONSUMED

    cdef Flow _meet(self, object packet, object key, bytes payload, int64_t at):
        """Look up who announced a 5-tuple that is not known yet; ``None`` for nobody."""
        matches = find_matches(self.flows, packet, key)
        if matches:
            return self._find_flow(key, matches, self.guess.held(key))
        party = self.parties.party_for(key, payload[1] & 127, at) if self.parties else None
        if party is None and not self.guesses:
            return None
        packets = self.guess.weigh(key, payload, at)
        if not packets:
            return None
        if party is not None and self.parties.latch(party, key, at):
            matches = find_matches(self.flows, key, key)
        elif not self.guesses:
            return None
        return self._find_flow(key, matches, packets[:len(packets) - 1])

    cdef Flow _find_flow(self, object key, tuple matches, list earlier):
        """A 5-tuple is known from now on; ``earlier`` are packets that came before that, with their times."""
        cdef Flow flow = Flow(key)
        self._explain(flow, matches)
        for payload, then in earlier:
            self._add_earlier(flow, payload, then)
        return flow

    cdef int _add_earlier(self, Flow flow, bytes payload, int64_t at) except -1:
        """Count a packet that came before its stream was recognised."""
        cdef Arrival one
        cdef Stream stream
        one.at = at
        if read_header(<const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), &one):
            stream = flow.find(one.ssrc)
            if stream is None:
                stream = self._begin(flow, &one)
                flow.last_ssrc = one.ssrc
            if stream.payload_type != one.payload_type:
                stream.learn(one.payload_type)
            stream.add(&one)
        return 0

    cdef int _explain(self, Flow flow, tuple matches) except -1:
        """Let a 5-tuple mean what was announced of it."""
        flow.matches = matches
        flow.codecs = codecs_of(matches)
        flow.match = say_match(matches)
        flow.nat = flow.nat or flow.match == "nat" or (self.parties is not None
                                                       and self.parties.concerned(flow.key, matches))
        flow.encrypted = flow.encrypted or is_encrypted(matches) or flow.key in self.secured
        flow.watched = flow.watched or watched_keys(flow.key)
        return 0

    cdef int _renew(self, Flow flow) except -1:
        """Something else may have been announced: streams keep their call, and learn new codecs."""
        cdef Stream stream
        flow.stale = False
        matches = find_matches(self.flows, flow.key, flow.key)
        if not matches:
            return 0
        self._explain(flow, matches)
        for stream in flow.streams:
            if not stream.matches or any(match.owner == stream.matches[0].owner for match in matches):
                stream.matches = flow.matches
                stream.codecs = flow.codecs
                stream.payload_type = -1
        return 0

    cdef Stream _begin(self, Flow flow, const Arrival *one):
        """Begin a stream; another one is told of and forgotten where there are too many."""
        cdef Stream stream
        crowd = self.streams.crowded(flow)
        if crowd is not None:
            self.emit(self._end(crowd, "evicted"))
        stream = Stream(flow, one.ssrc, flow.codecs)
        stream.matches = flow.matches
        stream.match = flow.match
        if not flow.streams:
            flow.last_ssrc = one.ssrc
        self.streams.add(flow, stream, one.at)
        return stream

    cdef int _note_keys(self, object packet, object key) except -1:
        """Keys were agreed on where RTP is announced: it will be encrypted, both ways."""
        cdef Flow flow
        if not find_matches(self.flows, packet, key):
            return 0
        for one in (key, key.reversed()):
            flow = self.streams.flow_of(one)
            if flow is not None:
                flow.encrypted = True
            elif len(self.secured) < SECURED_MAX:
                self.secured[one] = None
        return 0

    cdef int _note_event(self, Stream stream, const Arrival *one) except -1:
        """Note a digit; all packets of an event have its timestamp (RFC 4733 §2.2)."""
        cdef bint begins = stream.event_at != <int64_t>one.timestamp
        stream.event_at = one.timestamp
        if stream.events is None:
            stream.events = []
        note_event(stream.events, one.payload[:one.payload_len], begins=begins, at=moment(one.at), clock=stream.clock,
                   mask=self.config.mask_dtmf)
        return 0

    cdef object _control(self, object packet, bytes payload):
        """Read RTCP that goes to or comes from where it was announced. Raises ParseError."""
        cdef int64_t at = packet.timestamp
        key = packet.flow
        cdef Stream stream
        matches = find_matches(self.flows, packet, key)
        if not matches:
            # Nobody announced it where a party behind NAT was found, or where RTP was guessed
            stream = self._between(key, payload[4:8].hex(), True)
            if stream is None or stream.match not in ("nat", "guess"):
                return None
            matches = stream.matches
        call = matches[0].context.get("call_id") if matches else None
        if self._secures(key, matches, payload):
            report = RtcpReport(call, True, read_encrypted(payload))
        else:
            packets = read_compound(payload)
            ended = take_reports(packets, at, lambda ssrc: self._between(key, ssrc, True),
                                 lambda ssrc: self._between(key, ssrc, False))
            for stream in ended:
                if not (<Stream>stream).bye:
                    (<Stream>stream).bye = True
                    self.byes.append((at, stream))
            report = RtcpReport(call, False, packets)
        return Parsed(report, report.labels(), payload, "rtcp")

    cdef bint _secures(self, object key, object matches, bytes payload) except -1:
        """Whether RTCP is encrypted: SDP says so, or keys were agreed on for this 5-tuple or for the sender's RTP."""
        cdef Stream stream
        if is_encrypted(matches) or key in self.secured:
            return True
        flow = self.streams.flow_of(key)
        if flow is None:
            stream = self._between(key, payload[4:8].hex(), True)
            flow = None if stream is None else stream.flow
        return flow is not None and (<Flow>flow).encrypted

    def _between(self, key, ssrc, forwards):
        """Give the stream of an SSRC between the two hosts of a 5-tuple, in its direction or against it."""
        src, _, dst, _, _ = key.parts()
        ends = (src, dst) if forwards else (dst, src)
        for stream in self.streams.of_ssrc(int(ssrc, 16)):
            parts = (<Flow>(<Stream>stream).flow).key.parts()
            if (parts[0], parts[2]) == ends:
                return stream
        return None

    def on_announce(self, owner, keys, context):
        """Somebody announced where media are expected."""
        if type(context) is not dict:
            return
        if "reported" in context:
            take_said(self.streams.of_owner(owner), owner, context)
        elif not says_where_it_is(keys, context) or party_name(owner, context) in self.elsewhere:
            self.parties.hear(owner, keys, context)

    def on_flow_end(self, key, context):
        """What was announced for some 5-tuples has ended, or is another thing now."""
        for flow in self.streams.watching(key):
            (<Flow>flow).stale = True
            self.ended[flow] = None

    def tick(self, now):
        """Tell of streams that have ended, and at intervals of those that are under way."""
        self.secured.clear()
        self.drops.look(now)
        if self.parties is not None:
            self.parties.sweep()
        return self._due(now)

    def finish(self, now):
        """Tell of all streams."""
        self.drops.look(now)
        for stream in self.streams.all_streams():
            yield self._end(stream, "finish")

    def _due(self, int64_t now):
        cdef Flow flow
        cdef Stream stream
        ended, self.ended = self.ended, {}
        for one in ended:
            flow = <Flow>one
            if find_matches(self.flows, flow.key, flow.key) or flow.match == "guess":
                continue
            for each in flow.all_streams:
                yield self._end(each, "call_end")
        byes, self.byes = self.byes, []
        for at, each in byes:
            if now - at < SECOND:
                self.byes.append((at, each))
            elif self.streams.holds(each):
                yield self._end(each, "bye")
        while (found := self.streams.silent(now - self.idle)) is not None:
            yield self._end(found, "idle")
        if not self.interval or now < self.due:
            return
        self.due = (now // self.interval + 1) * self.interval
        for each in self.streams.all_streams():
            stream = <Stream>each
            if stream.last > stream.told:
                stream.told = now
                yield self._record(stream, None, now)

    cdef object _end(self, Stream stream, str why):
        """Forget a stream; gives the record that tells of it."""
        record = self._record(stream, why, stream.last)
        self.streams.remove(stream)
        return record

    cdef object _record(self, Stream stream, str ended, int64_t at):
        cdef Flow flow = stream.flow
        stream.capture_loss = stream.capture_loss or self.drops.during(stream.first, stream.last)
        report = tell(stream, ended, nat=flow.nat, encrypted=flow.encrypted, ssrc_changes=flow.ssrc_changes,
                      models=self.models)
        return Record("stream", report, at, labels=report, key=call_of(stream.matches), flow=flow.key, size=STREAM_SIZE)
