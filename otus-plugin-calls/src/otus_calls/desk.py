"""What is not on the way of every message: media and ICMP errors on their way to calls, and the records of calls."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from itertools import chain
from typing import TYPE_CHECKING, Any

import otus_core
from otus_calls.bindings import Bindings, aor_in
from otus_calls.kpi import add, counts_of, tell_kpi
from otus_calls.legs import Legs, card_of, leg_of
from otus_calls.media import add_stream, stream_of
from otus_calls.model import Kpi, Registration, moment
from otus_calls.names import REGISTRATION_STATES, STREAM_COUNTERS
from otus_calls.registrations import Sources, tell_binding, text_of
from otus_calls.reports import Reports

if TYPE_CHECKING:
    from otus_calls.bindings import Binding
    from otus_calls.config import CallsConfig
    from otus_calls.table import Call as Followed
    from otus_calls.table import Table

SECOND = 1_000_000_000
LOSSY_PCT, POOR_MOS = 1.0, 3.6
"""Beyond these, listeners complain (ITU-T G.109 calls what lies below 3.6 low quality)."""
STREAMS_MAX = 64
"""Streams of a call that are told of."""
ERRORS_MAX = 32
TEXT_MAX = 256
EARLY_TICKS = 2
EARLY_MAX = 1024
"""Streams and errors that are kept, and for how many ticks, because nothing is known of their calls yet."""
LEGS_MAX = 16
SHOWN_A_ROUND = 512
"""Calls that each worker shows at the end before all wait for each other: with 1 kB each, those of sixteen workers wait
in the parent, and more would not find room there.
"""
SHOWN_LAST_MAX = 100_000
"""Calls that a worker shows at the end, in fewer rounds than the core gives it; the others count as not compared."""
SHOW_WITHIN_S = 3.0
"""So does what would take longer. The core gives it five seconds, of which the links that come back need some."""
NAMESAKES_MAX = 64
"""Calls with one Call-ID that are told of a stream or an error, of which nothing else says whose it is."""
SILENCE_NS = 60 * SECOND
"""An answered call whose media have all ended is given up this much later, unless a message comes."""


class Desk:
    """Reports calls. ``wire`` first; then ``take``, ``on_route``, ``tick`` and ``finish`` as the processor is told."""

    def __init__(self, config: CallsConfig, table: Table) -> None:
        self._config = config
        self._table = table
        self._interim = int(config.interim * 1e9)
        self._interim_due = 0
        self._now = 0
        self.bindings = Bindings(config.max_registrations, self._see_failure)
        self._sources = Sources(config.scan_users)
        self._legs = Legs(config.leg_headers)
        self._kpi = int(config.kpi * 1e9)
        self._reports = Reports(config)
        self._counts: dict[str, int] = {}
        self._begun = 0
        self._ending = False
        self._early: list[tuple[str, str, Any, int]] = []
        self._gathered: dict[int, dict[str, int]] = {}

    def wire(self, context: otus_core.Context) -> None:
        """Take the way to other workers and to the reporters, and the counters."""
        self._route = context.route
        self._emit = context.emit
        self._reports.wire(context, self._add_figures if self._kpi else None)
        self._registered = {state: context.counter(f"registrations_{state}") for state in REGISTRATION_STATES}
        self._alone = context.alone
        self._streams = {name: context.counter(name) for name in STREAM_COUNTERS}
        self._evicted = context.counter("evicted")
        self._namesakes = context.counter("namesakes")
        self._legs.not_compared = context.counter("legs_not_compared")

    def take(self, output: Any) -> None:
        """Take a stream, or an ICMP error, to the calls that it belongs to; RTCP is told of with its stream."""
        if output.payload_type == "stream":
            self._take_stream(output)
        elif output.payload_type == "icmp":
            self._take_error(output)

    def _take_stream(self, output: Any) -> None:
        facts = getattr(output.payload, "facts", None)
        if not isinstance(facts, dict) or not facts.get("call_id"):
            return
        src, sport, dst, dport, _ = output.flow.parts() if output.flow else ("", 0, "", 0, 0)
        ends = (str(ip_address(src)), sport, str(ip_address(dst)), dport) if src else ("", 0, "", 0)
        if facts.get("ended"):
            self._count_stream(facts)
        kept = stream_of(facts, ends)
        for call_id in facts.get("calls") or (facts["call_id"],):
            self._route(as_key(call_id.encode()), ("stream", kept))

    def _count_stream(self, facts: Mapping[str, Any]) -> None:
        self._streams["streams"]()
        if facts["loss_pct"] > LOSSY_PCT:
            self._streams["streams_lossy"]()
        if facts["mos"] is not None and facts["mos"] < POOR_MOS:
            self._streams["streams_poor"]()

    def _take_error(self, output: Any) -> None:
        error = output.payload
        quoted = getattr(error, "quoted", None)
        if quoted is None or not quoted.call_id:
            return
        told = {
            "at": moment(output.timestamp),
            "error": str(error.error)[:TEXT_MAX],
            "type": error.type,
            "code": error.code,
            "from": str(output.src_ip),
            "src": quoted.src_ip,
            "sport": quoted.src_port,
            "dst": quoted.dst_ip,
            "dport": quoted.dst_port,
            "method": quoted.method,
            "status": quoted.status_code,
        }
        self._route(as_key(quoted.call_id.encode()), ("icmp", told))

    def route_register(self, at: int, flow: bytes, said: bytes, fields: bytes) -> None:
        """Send a message of a registration to the worker that owns the address of record."""
        self._route("aor:" + text_of(aor_in(fields)), ("register", (at, flow, said, fields)))

    def evict_binding(self, surplus: Binding) -> None:
        """Report a registration that has no room any more."""
        self._emit(self._binding(surplus, surplus.last, "evicted"))

    def _see_failure(self, source: str, aor: str) -> None:
        self._route("source:" + source, ("failure", (source, aor)))

    def on_route(self, key: str, message: Any) -> None:
        """Take what belongs to a key of this worker: a call, an address of record, a source, or the figures."""
        kind, told = message
        if kind == "register":
            surplus = self.bindings.take(*told)
            if surplus is not None:
                self.evict_binding(surplus)
        elif kind == "failure":
            for aor in self._sources.failed(*told):
                self._route("aor:" + aor, ("scan", aor))
        elif kind == "scan":
            self.bindings.mark_scan(told)
        elif kind == "card":
            self._join(self._legs.take(told, self._now))
        elif kind == "leg":
            self._take_leg(key, *told)
        elif kind == "kpi":
            begin, counts = told
            add(self._gathered.setdefault(begin, {}), counts)
        else:
            self._take_told(key, kind, told)

    def _compare(self, number: int, others: Sequence[int]) -> None:
        self._join(self._legs.compare(number, others, self._now))

    def _join(self, found: Any) -> None:
        """Tell each of two calls of the other that is a leg of it."""
        for one, other, score, reasons in found:
            for mine, its in ((one, other), (other, one)):
                self._route(as_key(mine.call_id), ("leg", (mine.from_tag, leg_of(its, mine, score, reasons))))

    def _take_leg(self, key: str, tag: bytes, leg: dict[str, Any]) -> None:
        for call in self._table.of(key.encode("latin-1"), NAMESAKES_MAX, tag):
            legs = [
                one for one in call.legs or () if (one["call_id"], one["from_tag"]) != (leg["call_id"], leg["from_tag"])
            ]
            call.legs = sorted([*legs, leg], key=lambda one: (-one["score"], one["call_id"]))[:LEGS_MAX]
            if self._ending and call.streams and not call.number:
                self._show_last([call])  # its leg is to tell who sends media here

    def _show(self, calls: list[Followed]) -> None:
        """Show calls to whoever looks for legs."""
        if self._alone:
            self._legs.likely.show_all(calls, self._compare)
            return
        for call in calls:
            self._route("legs", ("card", card_of(call, self._now)))

    def _take_told(self, key: str, kind: str, told: Any, *, ticks: int = 0) -> None:
        """Take what is told of a call; its first message may still be on its way here from another worker."""
        calls = self._table.of(key.encode("latin-1"), NAMESAKES_MAX + 1)
        if len(calls) > NAMESAKES_MAX:
            self._namesakes()
            del calls[0]
        if not calls and ticks < EARLY_TICKS and len(self._early) < EARLY_MAX:
            self._early.append((key, kind, told, ticks))
        for call in calls:
            if kind == "icmp":
                call.errors = call.errors or []
                if len(call.errors) < ERRORS_MAX:
                    call.errors.append(told)
            elif kind == "stream":
                call.streams = call.streams or []
                add_stream(call.streams, told, STREAMS_MAX)
                self._see_silence(call)

    def _take_early(self) -> None:
        early, self._early = self._early, []
        for key, kind, told, ticks in early:
            self._take_told(key, kind, told, ticks=ticks + 1)

    def _see_silence(self, call: Followed) -> None:
        """Give a call up whose media have all ended; a BYE, or another message, may still come."""
        if all(one["ended"] == "idle" for one in call.streams):
            call.silent = True
            self._table.lose(call, self._now + SILENCE_NS)

    def evict(self) -> None:
        """Report the calls that have no room any more."""
        while (call := self._table.surplus()) is not None:
            self._evicted()
            self._emit(self._reports.report(call, call.last, "evicted"))

    def tick(self, now: int) -> Iterator[otus_core.Record]:
        """Report what has ended by ``now``, and at intervals what is under way."""
        self._now = now
        self._take_early()
        self._show(self._table.news(now))
        return chain(self._reports.ended(self._table.due(now), now, self._table), self._tell_rest(now))

    def _tell_rest(self, now: int) -> Iterator[otus_core.Record]:
        """Report at a tick what is no call that has ended."""
        for one in self.bindings.due(now):
            yield self._binding(one, now, one.state(now))
        if self._kpi:
            yield from self._figures(now)
        if self._interim and now >= self._interim_due:
            self._interim_due = (now // self._interim + 1) * self._interim
            for call in self._table.calls():
                if call.last > call.told:
                    call.told = now
                    yield self._reports.interim(call, now)

    def before_finish(self, now: int) -> Iterator[None]:
        """Show calls that are open to whoever looks for legs, where that may be another worker; the links come back."""
        self._now = now
        self._take_early()
        if self._alone:
            return
        self._ending = True
        calls, until = self._table.unseen(), time.monotonic() + SHOW_WITHIN_S
        for at in range(0, len(calls), SHOWN_A_ROUND):
            if at >= SHOWN_LAST_MAX or time.monotonic() > until:
                self._legs.not_compared(len(calls) - at)
                break
            self._show_last(calls[at : at + SHOWN_A_ROUND])
            yield
        yield  # the last links are here, and calls that they gave a leg have been shown
        yield

    def _show_last(self, calls: list[Followed]) -> None:
        for call in calls:
            call.number = 1  # which has no other use where cards are shown
        self._show(calls)

    def finish(self, now: int) -> Iterator[otus_core.Record]:
        """Report all calls. Where there are other workers, those have finished or are about to: nothing is routed."""
        self._now = now
        self._take_early()
        likely = self._legs.likely if self._alone else None
        last = self._reports.finish(self._table.calls(), now, self._table, likely, self._compare)
        return chain(last, self._finish_rest(now))

    def _finish_rest(self, now: int) -> Iterator[otus_core.Record]:
        for one in self.bindings.all():
            yield self._binding(one, now, "finish")
        if self._kpi:
            add(self._gathered.setdefault(self._begun, {}), self._counts)
            self._counts = {}
            yield from self._gather_figures(now, end=now, part=not self._alone)

    def _add_figures(self, outcome: Any) -> None:
        """Add a call to the figures of the interval."""
        add(self._counts, counts_of(outcome))

    def _binding(self, one: Binding, now: int, ended: str) -> otus_core.Record:
        self._registered[one.state(now)]()
        if self._kpi:
            add(self._counts, {"registrations": one.attempts, "registrations_ineffective": one.ineffective})
        payload = Registration(lambda: tell_binding(one, now, ended))
        return otus_core.Record("registration", payload, one.last, labels=payload, key=text_of(one.aor))

    def _figures(self, now: int) -> Iterator[otus_core.Record]:
        """Send the figures of an interval that has passed to the worker that gathers them; that one tells of them a
        tick later.
        """
        yield from self._gather_figures(now, end=0, part=False)
        begin = now // self._kpi * self._kpi
        if begin > self._begun:
            if self._counts:
                self._route("kpi", ("kpi", (self._begun, self._counts)))
            self._counts, self._begun = {}, begin

    def _gather_figures(self, now: int, *, end: int, part: bool) -> Iterator[otus_core.Record]:
        for begin, total in sorted(self._gathered.items()):
            if total:
                until = min(begin + self._kpi, end or now)
                yield otus_core.Record(
                    "kpi", payload := Kpi(tell_kpi(total, begin, until, part=part)), until, labels=payload
                )
        self._gathered = {}


def as_key(call_id: bytes) -> str:
    """Give a Call-ID as the key of what is routed."""
    return call_id[:256].decode("latin-1")
