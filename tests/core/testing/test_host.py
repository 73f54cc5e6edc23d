"""``otus_run``, as authors use it: frames with their times, keys of a task, any link type, variables."""

from __future__ import annotations

from otus_core.testing import packets
from otus_core.testing.host import Host

BEGUN = 1_771_669_800_123_456_789
FRAME = packets.udp(b"?", dst_port=9)
RAW = {"unmatched_policy": "forward", "parsers": ["sip"]}
"""A task that forwards what nobody reads."""


def times(host: Host, frames: list[bytes | tuple[int, bytes]], **more: object) -> list[str]:
    ran = host(frames, task=RAW, **more)  # type: ignore[arg-type]
    assert ran.status == 0, ran.errors
    return [output["timestamp"] for output in ran.of("raw")]


def test_frames_have_the_times_that_they_come_with(otus_run: Host) -> None:
    assert times(otus_run, [(BEGUN, FRAME), (BEGUN + 1, FRAME)]) == [
        "2026-02-21T10:30:00.123456789Z",
        "2026-02-21T10:30:00.123456790Z",
    ]


def test_frames_without_times_are_a_millisecond_apart(otus_run: Host) -> None:
    assert [time[-10:] for time in times(otus_run, [FRAME, FRAME])] == ["000000000Z", "001000000Z"]


def test_the_keys_of_a_task_are_taken(otus_run: Host) -> None:
    ran = otus_run([FRAME], task={**RAW, "processors": [{"type": "label", "config": {"labels": {"x.site": "north"}}}]})
    assert [output["labels"] for output in ran.outputs] == [{"x.site": "north"}]
    assert otus_run([FRAME], task={"parsers": [{"type": "sip", "config": {"prots": []}}]}).status == 2


def test_frames_may_have_another_link_type(otus_run: Host) -> None:
    assert len(times(otus_run, [FRAME[14:]], link_type=101)) == 1  # raw IP


def test_variables_reach_the_run(otus_run: Host) -> None:
    ran = otus_run([FRAME], task=RAW, environment={"OTUS_DISABLED_PLUGINS": "sip"})
    assert (ran.status, "parser 'sip' cannot be used" in ran.errors) == (2, True)


def test_a_summary_is_of_its_own_run(otus_run: Host) -> None:
    assert otus_run([FRAME], task=RAW).summary["frames_read"] == 1
    assert otus_run([FRAME], task={"parsers": ["nobody"]}).summary == {}
