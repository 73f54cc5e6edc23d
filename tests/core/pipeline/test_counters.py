"""The accounting identity, as arithmetic on counters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core.decode.decoder import COUNTERS
from otus_core.model.accounts import Accounts
from otus_core.pipeline.counters import Roster, book_crash, counter_names, summary, unaccounted

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


def test_a_fallback_is_offered_what_it_is_given() -> None:
    counters = dict.fromkeys(NAMES, 0)
    counters.update(
        {"frames_read": 5, "units": 5, "matched": 5, "kept": 5, "kafka.offered": 5, "kafka.moved_to_fallback": 5}
    )
    counters.update({"spare.offered": 5, "spare.reported": 5})
    assert unaccounted(counters, ROSTER) == 0


def test_the_summary_has_the_identity_s_own_names() -> None:
    counters = {**dict.fromkeys(NAMES, 0), "frames_read": 3, "dropped{decode:truncated}": 3}
    made = summary(counters, ROSTER)
    assert made["dropped"] == {"decode:truncated": 3}
    assert made["unaccounted"] == 0
    expected = {"frames_read", "messages_added", "units", "fragments_merged", "fragments_held", "segments_merged"}
    assert expected | {"segments_held", "dropped", "matched", "kept", "reporters", "unaccounted"} == set(made)


def test_a_live_source_shows_what_the_kernel_counted_from_the_start() -> None:
    live = Roster(live=True)
    counters = dict.fromkeys(counter_names(live, ()), 0)
    assert summary(counters, live)["kernel_rx"] == summary(counters, live)["in_ring"] == 0
    counters.update({"kernel_rx": 9, "kernel_drop": 2, "frames_read": 4})
    assert summary(counters, live)["in_ring"] == 3
    counters.update({"frames_read": 8})  # counted at once, the kernel's figures twice a second
    assert summary(counters, live)["in_ring"] == 0
