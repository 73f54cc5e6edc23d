"""The names of one worker's counters, and the identity that holds between them.

The names are those of the accounting identity; which of them exist is fixed by the task's components, never by a
packet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import attrs

from otus_core.model.accounts import Accounts
from otus_core.model.counter_names import begin_of, label_of, name_of, of_reporter
from otus_core.pipeline.hidden import hidden_counters, not_looked_into
from otus_core.values import frozen

UNMATCHED = name_of("dropped", "unmatched")
CRASHED = name_of("dropped", "worker_crash")
OVERFLOW = name_of("dropped", "buffer_overflow")
FRAME_COUNTERS = (
    "frames_read",
    "messages_added",
    "units",
    "fragments_merged",
    "fragments_held",
    "segments_merged",
    "segments_held",
    "matched",
    "kept",
    UNMATCHED,
    CRASHED,
    "frames_again",
    "frames_cut",
)
KERNEL_COUNTERS = ("kernel_rx", "kernel_drop", "interface_drop", "excluded_own")
"""What ``CaptureStats`` counts, in its order."""
RESUME = ("resume_slot", *(f"resume_{what}{{{slot}}}" for slot in (1, 2) for what in ("frames", "kept", "records")))
"""Where the source can be read again from; ``resume_slot`` names the pair that holds, 0 for none.

A worker may be killed between any two stores: it writes the other pair first.
"""
GAUGES = (
    *KERNEL_COUNTERS,
    *RESUME,
    "flows",
    "endpoints",
    "flows_evicted",
    "published_lost",
    "heartbeat_ns",
    "running",
    "blocked_ns",
    "clock_ns",
    "progress_ppm",
    "unaccounted",
)
LATENCY_BOUNDS_S = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2)
"""Upper bounds of the latency histogram; one slice of packets is one sample per packet in it."""
LATENCY = (*(name_of("latency_bucket", i) for i in range(len(LATENCY_BOUNDS_S) + 1)), "latency_sum_ns")
CIRCUIT_STATES = ("closed", "half_open", "open")
"""What the gauge ``state{component}`` counts from 0."""
STATUSES = ("ok", "degraded", "failed")
"""What a component may say of itself; the gauge ``status{component}`` counts from 0."""
REFUSALS = ("other", "fault")
"""Reasons of ``parse_error`` beside those that a parser declares: other texts, and exceptions that it may not raise."""
REPORTER_FAILURES = ("exception", "ambiguous", "invalid", "other")
"""Reasons of ``report_error`` that the core itself gives, beside those that a reporter declares."""
EXTRAS = (
    *("batches", "retries", "latency_ns", "blocked_ns", "bytes_queued", "oldest_ns"),
    *("spool_written", "spool_sent", "spool_resent", "spool_bytes"),
)
"""What is counted of a reporter beside its line of the identity; ``bytes_queued``, ``oldest_ns`` and ``spool_bytes``
are levels.
"""


ROUTED = ("routed", "routed_lost")
"""Messages that a component routed to another worker, and those of them that found no room on their way."""
SPOOL_DROPS = ("spool_full", "spool_expired", "spool_damaged", "spool_error")
FOUND = "spool_found"
"""Messages found on disk beyond those that are known: an earlier run left them, or a worker died before it had noted on
disk that a part of a batch was acknowledged. Beside ``offered`` on the left side of the identity.
"""


@frozen(eq=False)
class Roster:
    """The ids of a task's components, in order, with each reporter's declared failure reasons; ``live`` when its
    source is.

    ``counted`` has the counters that components declare, by ``kind:ID``, and ``refused`` the reasons of each parser's
    ParseErrors.
    ``hidden`` has, of each parser, what it declares that it meets and does not look into; ``routing`` are the
    components that route, as ``parser:ID`` or ``processor:ID``.
    """

    parsers: tuple[str, ...] = ()
    processors: tuple[str, ...] = ()
    reporters: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    fallbacks: frozenset[str] = frozenset()
    live: bool = False
    counted: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    refused: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    hidden: Mapping[str, Mapping[str, tuple[str, str]]] = attrs.field(factory=dict)
    capturer: str = ""
    routing: tuple[str, ...] = ()

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names of those that may emit records, and take in what they are given."""
        return (*(f"parser:{name}" for name in self.parsers), *(f"processor:{name}" for name in self.processors))

    @property
    def components(self) -> tuple[str, ...]:
        """Every component's name as the running mark counts them, from 1."""
        capturer = (f"capturer:{self.capturer}",) if self.capturer else ()
        return (*self.speakers, *(f"reporter:{name}" for name in self.reporters), *capturer)


def reporter_terms(declared: Sequence[str]) -> tuple[str, ...]:
    """Give the terms of one reporter's line of the identity."""
    reasons = dict.fromkeys((*declared, *REPORTER_FAILURES))
    return (
        "offered",
        "reported",
        "queued",
        "in_flight",
        "spooled",
        "moved_to_fallback",
        "offered_again",
        OVERFLOW,
        *(name_of("dropped", reason) for reason in SPOOL_DROPS),
        name_of("dropped", "shutdown"),
        CRASHED,
        *(name_of("dropped", "report_error", reason) for reason in reasons),
    )


def counter_names(roster: Roster, decoder: Iterable[str]) -> tuple[str, ...]:
    """Give all counters of a worker with these components."""
    names = [*FRAME_COUNTERS, *decoder]
    for parser in roster.parsers:
        names += [
            name_of("dropped", "ignored", parser),
            name_of("dropped", "parse_error", parser),
            name_of("errors", "parser", parser),
        ]
        names += [name_of("parse_errors", parser, reason) for reason in (*roster.refused.get(parser, ()), *REFUSALS)]
    names += hidden_counters(roster.hidden)
    for processor in roster.processors:
        names += [name_of("dropped", why, processor) for why in ("filtered", "processor_error", "circuit_open")]
        names.append(name_of("errors", "processor", processor))
    names += [name_of(what, name) for name in roster.speakers for what in ("records", "consumed", "cut_short")]
    names += [name_of(what, name) for name in roster.routing for what in ROUTED]
    for reporter, declared in roster.reporters.items():
        names += [of_reporter(reporter, term) for term in reporter_terms(declared)]
        names += [of_reporter(reporter, extra) for extra in (FOUND, *EXTRAS)]
        names.append(name_of("errors", "reporter", reporter))
    names += [name_of("errors", "capturer", roster.capturer)] if roster.capturer else []
    names += [name_of("state", component) for component in roster.components]
    names += [name_of("status", component) for component in roster.components]
    names += [name_of("counted", component, name) for component, own in roster.counted.items() for name in own]
    return tuple(dict.fromkeys((*names, *GAUGES, *LATENCY)))


def unaccounted(counters: Mapping[str, int], roster: Roster) -> int:
    """Give how far the identity is from closing: 0, or there is a bug. Absolute differences of all its lines, added."""
    frames = counters["frames_read"] + counters["messages_added"]
    # The lines are those of docs/reference/counters.md, one after the other.
    held = sum(counters[n] for n in ("fragments_merged", "fragments_held", "segments_merged", "segments_held"))
    early = _sum(counters, "dropped", "decode", "reassembly")
    lost = counters[CRASHED] + counters["frames_cut"]
    parser_drops = counters[UNMATCHED] + _sum(counters, "dropped", "ignored", "parse_error")
    taken_in = _sum(counters, "consumed", "parser")
    processor_drops = _sum(counters, "dropped", "filtered", "processor_error", "circuit_open")
    off = abs(frames - counters["units"] - held - early - lost)
    off += abs(counters["units"] - counters["matched"] - parser_drops - taken_in)
    offered = counters["matched"] + _sum(counters, "records")
    off += abs(offered - counters["kept"] - processor_drops - _sum(counters, "consumed", "processor"))
    for reporter, declared in roster.reporters.items():
        terms = {term: counters[of_reporter(reporter, term)] for term in reporter_terms(declared)}
        # Twice, because ``offered`` itself is among the terms that are added up.
        off += abs(2 * terms["offered"] + counters[of_reporter(reporter, FOUND)] - sum(terms.values()))
        if reporter not in roster.fallbacks:
            off += abs(terms["offered"] - counters["kept"])
    return off


class ResumePoint:
    """Where a worker to come could go on: noted after each slice of packets, so the names are made once."""

    def __init__(self, accounts: Accounts, roster: Roster) -> None:
        self._accounts = accounts
        self._held = ["fragments_held", "segments_held"]
        self._held += [of_reporter(name, term) for name in roster.reporters for term in ("queued", "in_flight")]
        self._records = [name_of("records", name) for name in roster.speakers]
        whats = ("resume_frames", "resume_kept", "resume_records")
        self._slots = {slot: [name_of(what, slot) for what in whats] for slot in (1, 2)}

    def note(self) -> None:
        """Note that a worker could go on from here, which it can while nothing of what was read is in memory alone."""
        accounts = self._accounts
        if any(accounts[name] for name in self._held):
            accounts.set("resume_slot", 0)
            return
        slot = 1 if accounts["resume_slot"] == 2 else 2
        frames, kept, records = self._slots[slot]
        accounts.set(frames, accounts["frames_read"])
        accounts.set(kept, accounts["kept"])
        accounts.set(records, sum(accounts[name] for name in self._records))
        # Last of all: until this one store the other pair holds, and a kill between any two loses nothing.
        accounts.set("resume_slot", slot)


def book_crash(counters: Mapping[str, int], roster: Roster, *, again: bool = False) -> dict[str, int]:
    """Give what to add to the counters of a worker that died, so that what died with it is counted.

    ``again``: the next worker reads again from the resume point on, so that what died with this one is not lost.
    """
    booked: dict[str, int] = {}
    slot = counters["resume_slot"]
    dropped = _sum(counters, "dropped", "decode", "reassembly")
    ended = sum(counters[n] for n in ("units", "fragments_merged", "segments_merged")) + dropped
    lost = counters["frames_read"] + counters["messages_added"] - ended - counters[CRASHED]
    lost -= counters["frames_cut"]
    booked["frames_cut" if again else CRASHED] = lost
    booked["frames_again"] = counters["frames_read"] - counters[name_of("resume_frames", slot)] if again else 0
    # Records are not emitted again as they were: what they told of was in the memory of the worker that died
    records = _sum(counters, "records") - counters[name_of("resume_records", slot)] if again else 0
    kept_before = counters[name_of("resume_kept", slot)] + records if again else 0
    # What is added brings it to 0: there is nothing to resume from until the next worker has noted a point.
    booked["resume_slot"] = -slot
    for gauge in ("fragments_held", "segments_held"):
        booked[gauge] = -counters[gauge]
    for reporter, declared in roster.reporters.items():
        terms = {term: counters[of_reporter(reporter, term)] for term in reporter_terms(declared)}
        ended = sum(terms.values()) - terms["queued"] - terms["in_flight"]
        gone = 2 * terms["offered"] + counters[of_reporter(reporter, FOUND)] - ended
        # What a fallback was given may be older than the resume point: it is not read again.
        since = terms["offered"] - kept_before if again and reporter not in roster.fallbacks else 0
        booked[of_reporter(reporter, "offered_again")] = min(gone, since)
        booked[of_reporter(reporter, CRASHED)] = gone - min(gone, since)
        # On disk already: sent from there, and read again
        booked[of_reporter(reporter, "spool_resent")] = since - min(gone, since)
        booked[of_reporter(reporter, "queued")] = -terms["queued"]
        booked[of_reporter(reporter, "in_flight")] = -terms["in_flight"]
    return booked


def summary(counters: Mapping[str, int], roster: Roster) -> dict[str, object]:
    """Give the identity's terms as the summary and the control plane show them.

    A live source has the kernel's too; ``in_ring`` are the frames that it has handed over and nobody has read yet, as
    far as has been counted: 0 once all is quiet. The kernel's figures are read twice a second and each frame is counted
    at once, so that in between more may have been read than the kernel is known to have given.
    """
    terms: dict[str, object] = {name: counters[name] for name in FRAME_COUNTERS if label_of(name, "dropped") is None}
    for what in ("records", "consumed", *(ROUTED if roster.routing else ())):
        terms[what] = _name_values(counters, what)
    terms["dropped"] = _drops(counters)
    if cut_short := _name_values(counters, "cut_short"):
        terms["cut_short"] = cut_short
    if any(roster.counted.values()):
        terms["counted"] = _name_values(counters, "counted")
    for what in ("parse_errors", "errors"):
        if told := _name_values(counters, what):
            terms[what] = told
    terms.update((name, counters[name]) for name in ("flows_evicted", "published_lost") if counters[name])
    reporters: dict[str, object] = {}
    for reporter, declared in roster.reporters.items():
        mine = {term: counters[of_reporter(reporter, term)] for term in reporter_terms(declared)}
        plain: dict[str, object] = {term: n for term, n in mine.items() if label_of(term, "dropped") is None}
        found = {term: counters[of_reporter(reporter, term)] for term in (FOUND, "spool_resent")}
        reporters[reporter] = {**plain, **found, "dropped": _drops(mine)}
    terms["reporters"] = reporters
    terms["not_looked_into"] = not_looked_into(counters, roster.hidden)
    if roster.live:
        terms.update((name, counters[name]) for name in KERNEL_COUNTERS)
        received = counters["kernel_rx"]  # 0 before it was asked for, and of a source that does not count
        ended = sum(counters[name] for name in ("kernel_drop", "excluded_own", "frames_read"))
        terms["in_ring"] = max(0, received - ended + counters["frames_again"])
    terms["unaccounted"] = unaccounted(counters, roster)
    return terms


def _drops(counters: Mapping[str, int]) -> dict[str, int]:
    return _name_values(counters, "dropped")


def _name_values(counters: Mapping[str, int], what: str) -> dict[str, int]:
    """Give the counters ``what{name}`` that are not 0, by name."""
    labels = ((label_of(name, what), n) for name, n in counters.items() if n)
    return {label: n for label, n in labels if label is not None}


def _sum(counters: Mapping[str, int], what: str, *kinds: str) -> int:
    """Add up the counters of ``what``: all of them, or those whose labels begin with one of the ``kinds``."""
    begins = tuple(begin_of(what, kind) for kind in kinds) or (begin_of(what),)
    return sum(map(counters.__getitem__, _those_that_begin(tuple(counters), begins)))


@lru_cache(maxsize=256)
def _those_that_begin(names: tuple[str, ...], begins: tuple[str, ...]) -> tuple[str, ...]:
    """Give the names that begin so: a task's counters keep theirs, and are added up twice a second."""
    return tuple(name for name in names if name.startswith(begins))
