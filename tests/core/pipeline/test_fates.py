"""What a reporter says of a batch becomes one fate for each message, whatever it says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core import ReportResult
from otus_core.pipeline.fates import INVALID, Fates, by_reason, sort_out


def told(fates: Fates) -> tuple[int, dict[int, str], dict[int, str], dict[str, int]]:
    return fates.reported, fates.failed, fates.retry, fates.lost


@pytest.mark.parametrize(
    ("result", "expected", "faulty"),
    [
        pytest.param(ReportResult(3), (3, {}, {}, {}), False, id="all"),
        pytest.param(ReportResult(2, {"auth": [1]}), (2, {1: "auth"}, {}, {}), False, id="all but one"),
        pytest.param(ReportResult(failed={"auth": 3}), (0, {0: "auth", 1: "auth", 2: "auth"}, {}, {}), False,
                     id="none, counted"),
        pytest.param(ReportResult(retry={"busy": 3}), (0, {}, {0: "busy", 1: "busy", 2: "busy"}, {}), False,
                     id="all again"),
        pytest.param(ReportResult(final={"bad": 3}), (0, {}, {}, {"bad": 3}), False, id="all final"),
        pytest.param(ReportResult(1, {"auth": 2}), (1, {}, {}, {"auth": 2}), False, id="counted beside reported"),
        pytest.param(
            ReportResult(0, {"auth": 2}, {"busy": 1}), (0, {}, {}, {"auth": 2, "busy": 1}), False,
            id="two kinds counted"
        ),
        pytest.param(
            ReportResult(0, {"auth": 1, "quota": 2}),
            (0, {0: "auth", 1: "quota", 2: "quota"}, {}, {}),
            False,
            id="two reasons of one kind counted",
        ),
        pytest.param(
            ReportResult(0, {"auth": [1]}, {"busy": 2}), (0, {1: "auth"}, {0: "busy", 2: "busy"}, {}), False,
            id="the rest again"
        ),
        pytest.param(ReportResult(2), (2, {}, {}, {INVALID: 1}), True, id="one forgotten"),
        pytest.param(ReportResult(0), (0, {0: INVALID, 1: INVALID, 2: INVALID}, {}, {}), True, id="all forgotten"),
        pytest.param(ReportResult(4), (3, {}, {}, {}), True, id="one too many"),
        pytest.param(ReportResult(3, {"auth": [0]}), (2, {0: "auth"}, {}, {}), True, id="one told twice"),
        pytest.param(ReportResult(-1, {"auth": 3}), (0, {0: "auth", 1: "auth", 2: "auth"}, {}, {}), True,
                     id="fewer than none"),
        pytest.param(ReportResult(2, {"auth": 2}), (2, {}, {}, {"auth": 1}), True, id="counted one too many"),
        pytest.param(ReportResult(2, {"auth": [7]}), (2, {}, {}, {INVALID: 1}), True, id="a place that there is not"),
        pytest.param("no result", (0, {0: INVALID, 1: INVALID, 2: INVALID}, {}, {}), True, id="no result"),
    ],
)  # fmt: skip
def test_each_of_three_messages_has_one_fate(result: Any, expected: Any, faulty: bool) -> None:
    fates = sort_out(result, 3)
    assert told(fates) == expected
    assert bool(fates.fault) == faulty


SOME = st.integers(-2, 6) | st.lists(st.integers(-1, 6), max_size=6)
REASONS = st.dictionaries(st.sampled_from(["a", "b"]), SOME, max_size=2)


@given(st.integers(-2, 7), REASONS, REASONS, REASONS, st.integers(0, 5))
def test_whatever_it_says_every_message_is_counted_once(
    reported: int, failed: Any, retry: Any, final: Any, size: int
) -> None:
    fates = sort_out(ReportResult(reported, failed, retry, final), size)
    assert fates.reported + len(fates.failed) + len(fates.retry) + sum(fates.lost.values()) == size
    assert not set(fates.failed) & set(fates.retry)
    assert set(fates.failed) | set(fates.retry) <= set(range(size))
    assert fates.reported >= 0
    assert all(n > 0 for n in fates.lost.values())


@pytest.mark.parametrize(
    ("fates", "success", "failure"),
    [
        (Fates(reported=1, failed={1: "x"}), True, False),
        (Fates(failed={0: "x"}), False, True),
        (Fates(retry={0: "x"}), False, True),
        (Fates(fault="x"), False, True),
        (Fates(lost={"x": 1}), False, False),
    ],
    ids=["partly", "failed", "again", "nonsense", "final"],
)
def test_what_a_batch_tells_of_its_destination(fates: Fates, success: bool, failure: bool) -> None:
    assert (fates.is_success, fates.is_failure) == (success, failure)


def test_messages_are_grouped_by_reason_in_their_order() -> None:
    batch = "abcdef"
    places = {5: "x", 0: "y", 3: "x", 1: "x"}
    assert by_reason(batch, places) == {"y": ["a"], "x": ["b", "d", "f"]}
    assert Counter(map(len, by_reason(batch, {}).values())) == {}
