"""The accounting identity, as arithmetic on counters."""

from __future__ import annotations

import itertools

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core.decode.decoder import COUNTERS
from otus_core.model.accounts import Accounts
from otus_core.pipeline.counters import (
    ResumePoint,
    Roster,
    book_crash,
    counter_names,
    reporter_terms,
    summary,
    unaccounted,
)

ROSTER = Roster(("sip",), ("filter",), {"kafka": ("auth",), "spare": ()}, frozenset({"spare"}))
NAMES = counter_names(ROSTER, COUNTERS)


def test_nothing_counted_is_nothing_missing() -> None:
    assert unaccounted(dict.fromkeys(NAMES, 0), ROSTER) == 0


@pytest.mark.parametrize(
    "name",
    [
        "frames_read",
        "units",
        "matched",
        "kept",
        "fragments_held",
        "dropped{unmatched}",
        "dropped{decode:not_ip}",
        "dropped{filtered:filter}",
        "kafka.offered",
        "kafka.reported",
        "spare.in_flight",
        "kafka.dropped{report_error:auth}",
        "kafka.dropped{report_error:other}",
    ],
)
def test_one_count_too_many_shows(name: str) -> None:
    assert unaccounted({**dict.fromkeys(NAMES, 0), name: 1}, ROSTER) > 0


@given(
    st.dictionaries(
        st.sampled_from([n for n in NAMES if not n.startswith(("latency", "state", "errors"))]), st.integers(0, 50)
    )
)
def test_whatever_a_worker_leaves_behind_is_booked(left: dict[str, int]) -> None:
    """A crash can end anywhere between frames; the terms of frames and of each reporter then close again."""
    accounts = Accounts(NAMES)
    for name, n in left.items():
        accounts.set(name, n)
    for name, n in book_crash(accounts.snapshot(), ROSTER).items():
        accounts.add(name, n)
    counters = accounts.snapshot()
    assert counters["fragments_held"] == counters["kafka.queued"] == counters["kafka.in_flight"] == 0
    assert book_crash(counters, ROSTER)["dropped{worker_crash}"] == 0
    assert book_crash(counters, ROSTER)["kafka.dropped{worker_crash}"] == 0


FATES = [n for n in NAMES if n.startswith(("dropped{", "consumed{")) or "_merged" in n or "_held" in n]
RECORDS = [n for n in NAMES if n.startswith("records{")]
"""Where a frame may end, or wait, other than as a message that is kept."""
FATES_OF_A_MESSAGE = {
    reporter: [f"{reporter}.{term}" for term in reporter_terms(declared) if term != "offered"]
    for reporter, declared in ROSTER.reporters.items()
}
LINES = [
    *FATES,
    *itertools.chain.from_iterable(FATES_OF_A_MESSAGE.values()),
    *(f"{reporter}.spool_found" for reporter in ROSTER.reporters),
    *RECORDS,
]
WHOLE = ("frames_read", "messages_added", "units", "matched", "kept", "kafka.offered", "spare.offered")


@st.composite
def accounted(draw: st.DrawFn) -> dict[str, int]:
    """Counters of a worker in which every frame and message has ended somewhere, or waits: what comes in is the sum of
    what becomes of it (robustness.md).
    """
    counters = dict.fromkeys(NAMES, 0)
    for name in [*FATES, *itertools.chain.from_iterable(FATES_OF_A_MESSAGE.values())]:
        counters[name] = draw(st.integers(0, 50))
    for reporter, fates in FATES_OF_A_MESSAGE.items():
        ended = sum(counters[name] for name in fates)
        counters[f"{reporter}.spool_found"] = draw(st.integers(0, ended))
        counters[f"{reporter}.offered"] = ended - counters[f"{reporter}.spool_found"]

    def dropped(*reasons: str) -> int:
        return sum(counters[n] for n in FATES if n.startswith(tuple(f"dropped{{{reason}" for reason in reasons)))

    def taken_in(kind: str) -> int:
        return sum(counters[n] for n in FATES if n.startswith(f"consumed{{{kind}:"))

    counters["kept"] = counters["kafka.offered"]
    offered = counters["kept"] + dropped("filtered:", "processor_error:", "circuit_open:") + taken_in("processor")
    for name in RECORDS:
        counters[name] = draw(st.integers(0, offered))
        offered -= counters[name]
    counters["matched"] = offered
    counters["units"] = counters["matched"] + dropped("unmatched}", "ignored:", "parse_error:") + taken_in("parser")
    waiting = sum(counters[n] for n in FATES if not n.startswith(("dropped{", "consumed{")))
    frames = counters["units"] + waiting + dropped("decode:", "reassembly:", "worker_crash}")
    counters["messages_added"] = draw(st.integers(0, frames))
    counters["frames_read"] = frames - counters["messages_added"]
    return counters


@given(accounted(), st.sampled_from([*LINES, *WHOLE]), st.integers(1, 9))
def test_the_identity_closes_when_everything_is_accounted_for_and_only_then(
    counters: dict[str, int], name: str, more: int
) -> None:
    assert unaccounted(counters, ROSTER) == 0
    for off in (more, -more):
        assert unaccounted({**counters, name: counters[name] + off}, ROSTER) > 0


@given(accounted())
def test_a_crash_loses_what_was_held_and_on_its_way_and_nothing_else(counters: dict[str, int]) -> None:
    booked = book_crash(counters, ROSTER)
    after = {name: n + booked.get(name, 0) for name, n in counters.items()}
    assert unaccounted(after, ROSTER) == 0
    assert booked["dropped{worker_crash}"] == counters["fragments_held"] + counters["segments_held"]
    for reporter in ROSTER.reporters:
        gone = counters[f"{reporter}.queued"] + counters[f"{reporter}.in_flight"]
        assert booked[f"{reporter}.dropped{{worker_crash}}"] == gone
    gauges = ("fragments_held", "segments_held", "kafka.queued", "kafka.in_flight", "spare.queued", "spare.in_flight")
    assert [after[name] for name in gauges] == [0] * 6


def test_a_fallback_is_offered_what_it_is_given() -> None:
    counters = dict.fromkeys(NAMES, 0)
    counters.update(
        {"frames_read": 5, "units": 5, "matched": 5, "kept": 5, "kafka.offered": 5, "kafka.moved_to_fallback": 5}
    )
    counters.update({"spare.offered": 5, "spare.reported": 5})
    assert unaccounted(counters, ROSTER) == 0


def test_the_summary_has_the_identity_s_own_names() -> None:
    counters = {**dict.fromkeys(NAMES, 0), "frames_read": 3, "dropped{decode:truncated}": 3}
    counters.update({"counted{parser:sip:malformed}": 2, "counted{parser:sip:none}": 0})
    made = summary(counters, attrs.evolve(ROSTER, counted={"parser:sip": ("malformed", "none")}))
    assert made.pop("counted") == {"parser:sip:malformed": 2}
    assert (made.pop("records"), made.pop("consumed")) == ({}, {})
    assert made["dropped"] == {"decode:truncated": 3}
    assert made["unaccounted"] == 0
    expected = {"frames_read", "messages_added", "units", "fragments_merged", "fragments_held", "segments_merged"}
    assert expected | {
        "segments_held",
        "dropped",
        "matched",
        "kept",
        "reporters",
        "unaccounted",
        "frames_again",
        "frames_cut",
        "not_looked_into",
    } == set(made)


def test_a_live_source_shows_what_the_kernel_counted_from_the_start() -> None:
    live = Roster(live=True)
    counters = dict.fromkeys(counter_names(live, ()), 0)
    assert summary(counters, live)["kernel_rx"] == summary(counters, live)["in_ring"] == 0
    counters.update({"kernel_rx": 9, "kernel_drop": 2, "frames_read": 4})
    assert summary(counters, live)["in_ring"] == 3
    counters.update({"frames_read": 8})  # counted at once, the kernel's figures twice a second
    assert summary(counters, live)["in_ring"] == 0


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.booleans())
def test_what_is_read_again_is_no_loss_and_what_is_older_is_none_either(
    before: int, cut: int, kept: int, written: int, older: bool
) -> None:
    """A worker is killed behind a resume point: after ``kept`` messages, ``written`` of which are on disk already."""
    accounts, written = Accounts(NAMES), min(kept, written)
    for name in ("frames_read", "units", "matched", "kept", "kafka.offered", "kafka.spooled"):
        accounts.set(name, before)
    ResumePoint(accounts, ROSTER).note()
    for name in ("frames_read", "units", "matched", "kept", "kafka.offered"):
        accounts.add(name, kept)
    accounts.add("frames_read", cut)
    accounts.add("kafka.spooled", written)
    accounts.add("kafka.queued", kept - written)
    if older:  # handed over from before the point, and in memory alone since
        accounts.add("spare.offered", 7)
        accounts.add("spare.queued", 7)
    assert accounts["resume_slot"] == 2
    for name, n in book_crash(accounts.snapshot(), ROSTER, again=True).items():
        accounts.add(name, n)
    counters = accounts.snapshot()
    assert (counters["frames_cut"], counters["frames_again"], counters["dropped{worker_crash}"]) == (cut, cut + kept, 0)
    assert (counters["kafka.offered_again"], counters["kafka.dropped{worker_crash}"]) == (kept - written, 0)
    assert (counters["kafka.spool_resent"], counters["spare.dropped{worker_crash}"]) == (written, 7 if older else 0)
    assert unaccounted(counters, ROSTER) == 0
    assert counters["resume_slot"] == 0


@pytest.mark.parametrize("held", ["kafka.queued", "kafka.in_flight", "spare.queued", "fragments_held"])
def test_there_is_no_way_back_while_something_is_in_memory_alone(held: str) -> None:
    accounts = Accounts(NAMES)
    ResumePoint(accounts, ROSTER).note()
    assert accounts["resume_slot"] != 0
    accounts.add(held, 1)
    ResumePoint(accounts, ROSTER).note()
    assert accounts["resume_slot"] == 0


def test_records_that_died_with_a_killed_worker_are_lost_though_its_frames_are_read_again() -> None:
    """What they told of was in its memory: the next worker does not emit them again."""
    counters = dict.fromkeys(NAMES, 0)
    counters.update({"frames_read": 10, "units": 10, "matched": 10, "kept": 14, RECORDS[0]: 4})
    counters.update({"kafka.offered": 14, "kafka.in_flight": 14, "resume_slot": 1})
    booked = book_crash(counters, ROSTER, again=True)
    assert (booked["kafka.offered_again"], booked["kafka.dropped{worker_crash}"]) == (10, 4)
    assert unaccounted({name: n + booked.get(name, 0) for name, n in counters.items()}, ROSTER) == 0
