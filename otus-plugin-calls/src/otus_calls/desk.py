"""What is not on the way of every message: media and ICMP errors on their way to calls, and the records of calls."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import otus_core
from otus_calls.media import add_stream, stream_of
from otus_calls.model import Call, moment
from otus_calls.names import STATES
from otus_calls.tell import tell_call

if TYPE_CHECKING:
    from otus_calls.config import CallsConfig
    from otus_calls.table import Call as Followed
    from otus_calls.table import Table

SECOND = 1_000_000_000
STREAMS_MAX = 64
"""Streams of a call that are told of."""
ERRORS_MAX = 32
TEXT_MAX = 256
SILENCE_NS = 60 * SECOND
"""An answered call whose media have all ended is given up this much later, unless a message comes."""
MESSAGE_BYTES = 400
"""About what a message takes in the record that tells of it."""


class Desk:
    """Reports calls. ``wire`` first; then ``take``, ``on_route``, ``tick`` and ``finish`` as the processor is told."""

    def __init__(self, config: CallsConfig, table: Table) -> None:
        self._config = config
        self._table = table
        self._interim = int(config.interim * 1e9)
        self._interim_due = 0
        self._now = 0

    def wire(self, context: otus_core.Context) -> None:
        """Take the way to other workers and to the reporters, and the counters."""
        self._route = context.route
        self._emit = context.emit
        self._media = "stream" in context.call_labels
        self._counted = {state: context.counter(f"calls_{state}") for state in STATES}
        self._evicted = context.counter("evicted")
        self._cut = context.counter("messages_cut")

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
        src, sport, dst, dport, _ = output.flow.parts()
        ends = (str(ip_address(src)), sport, str(ip_address(dst)), dport) if src else ("", 0, "", 0)
        kept = stream_of(facts, ends)
        for call_id in facts.get("calls") or (facts["call_id"],):
            self._route(as_key(call_id.encode()), ("stream", kept))

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

    def on_route(self, key: str, message: Any) -> None:
        """Take what belongs to a call of this worker."""
        kind, told = message
        for call in self._table.of(key.encode("latin-1")):
            if kind == "icmp":
                call.errors = call.errors or []
                if len(call.errors) < ERRORS_MAX:
                    call.errors.append(told)
            elif kind == "stream":
                call.streams = call.streams or []
                add_stream(call.streams, told, STREAMS_MAX)
                self._see_silence(call)

    def _see_silence(self, call: Followed) -> None:
        """Give a call up whose media have all ended; a BYE, or another message, may still come."""
        if all(one["ended"] == "idle" for one in call.streams):
            call.silent = True
            self._table.lose(call, self._now + SILENCE_NS)

    def evict(self) -> None:
        """Report the calls that have no room any more."""
        while (call := self._table.surplus()) is not None:
            self._evicted()
            self._emit(self._report(call, "evicted", call.last))

    def tick(self, now: int) -> Iterator[otus_core.Record]:
        """Report what has ended by ``now``, and at intervals what is under way."""
        self._now = now
        for call in self._table.due(now):
            self._table.remove(call)
            yield self._report(call, "", now)
        if self._interim and now >= self._interim_due:
            self._interim_due = (now // self._interim + 1) * self._interim
            for call in self._table.calls():
                if call.last > call.told:
                    call.told = now
                    yield self._interim_record(call, now)

    def finish(self, now: int) -> Iterator[otus_core.Record]:
        """Report all calls."""
        for call in self._table.calls():
            self._table.remove(call)
            yield self._report(call, "finish", now)

    def _report(self, call: Followed, ended: str, now: int) -> otus_core.Record:
        """Give the record of a call that is followed no more. Its facts are put together when they are asked for."""
        outcome = call.outcome_by(now)
        self._counted[outcome.state]()
        if call.cut:
            self._cut(call.cut)
        ended = ended or why_ended(outcome.state)
        payload = Call(lambda: tell_call(call, outcome, ended, self._config, media=self._media))
        return self._record(payload, call, outcome)

    def _interim_record(self, call: Followed, now: int) -> otus_core.Record:
        outcome = call.outcome_by(now)
        return self._record(Call(tell_call(call, outcome, None, self._config, media=self._media)), call, outcome)

    def _record(self, payload: Call, call: Followed, outcome: Any) -> otus_core.Record:
        first = outcome.invite or outcome.first
        return otus_core.Record(
            "call",
            payload,
            outcome.last,
            labels=payload,
            key=call.call_id.decode("utf-8", "replace"),
            src_ip=first.src or None,
            dst_ip=first.dst or None,
            src_port=first.sport,
            dst_port=first.dport,
            protocol=first.protocol,
            size=MESSAGE_BYTES * (len(call.notes) + 4),
        )


def as_key(call_id: bytes) -> str:
    """Give a Call-ID as the key of what is routed."""
    return call_id[:256].decode("latin-1")


def why_ended(state: str) -> str:
    """Say why a call that is waited for no more is over."""
    if state == "completed":
        return "bye"
    if state in ("trying", "ringing", "early_media", "no_reply"):
        return "timeout"
    return "lost" if state in ("in_call", "lost") else "final"
