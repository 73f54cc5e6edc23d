"""How a run ends: what is a loss, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from otus_core.cli.ending import Result, failures_of, status_of

LEFT = ["some messages could not be delivered before the run ended (kafka: 1,200)"]


@pytest.mark.parametrize(
    ("more", "live", "expected"),
    [
        ({}, False, (1, LEFT)),
        ({"interrupted": True}, False, (130, [])),
        ({"interrupted": True}, True, (0, [])),
        ({"stdout_ended": BrokenPipeError(32, "Broken pipe")}, False, (0, [])),
        ({"stdout_ended": OSError(28, "No space left")}, False, (1, ["standard output: No space left"])),
    ],
)
def test_what_is_left_at_the_end_is_a_loss_unless_the_user_ended_the_run(
    more: dict[str, Any], live: bool, expected: tuple[int, list[str]]
) -> None:
    summary = {
        "kept": 1200,
        "records": 0,
        "consumed": 0,
        "dropped": {},
        "reporters": {"kafka": {"dropped": {"shutdown": 1200}}},
    }
    result = Result(summary, [], **more)
    assert (status_of(result, live=live), failures_of(result)) == expected
