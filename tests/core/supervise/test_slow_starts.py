"""Workers that take long to get up: they are given their time, and no more than that."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from otus_core.plugins.loader import load
from otus_core.process.channel import Channel
from otus_core.process.messages import FROM_WORKER
from otus_core.process.output import LineMerger
from otus_core.supervise import slot as slot_module
from otus_core.supervise import supervisor as module
from otus_core.supervise.supervisor import HUNG_AFTER_S, TaskSupervisor
from otus_core.supervise.surroundings import Surroundings
from otus_core.task.config import load_task
from otus_core.worker.assembly import Node

TASK = {"id": "t", "capture": {"type": "afpacket", "interface": "lo"}, "reporters": ["discard"]}


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that says nothing."""
    with subprocess.Popen(["sleep", "600"]) as made:
        yield made
        made.kill()


def supervised() -> TaskSupervisor:
    around = Surroundings(node=Node(hostname="edge-1"), plugins={}, merger=LineMerger())
    return TaskSupervisor(load_task(TASK, load()), around)


def test_getting_up_is_no_silence(process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that says that it runs has not beaten yet: it was killed as hung when it had taken longer to get there
    than a running one may be silent.
    """
    clock = 1000.0
    monkeypatch.setattr(slot_module, "time", SimpleNamespace(monotonic=lambda: clock))
    (slot,) = supervised().slots
    ours, _theirs = socket.socketpair()
    slot.begin(process, Channel(ours, FROM_WORKER))
    clock += 2 * HUNG_AFTER_S
    slot.start([])
    assert slot.silent_for(clock) == 0
    clock += 2 * HUNG_AFTER_S
    assert slot.silent_for(clock) > HUNG_AFTER_S


def test_pauses_between_restarts_grow_and_begin_anew_after_a_stable_time(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1000.0
    monkeypatch.setattr(slot_module, "time", SimpleNamespace(monotonic=lambda: clock))
    (slot,) = supervised().slots

    def pause(ran_for: float) -> float:
        nonlocal clock
        ours, _theirs = socket.socketpair()
        slot.begin(process, Channel(ours, FROM_WORKER))
        slot.start([])
        clock += ran_for
        slot.schedule_restart("worker died: signal 9")
        return slot.restart_at - clock

    assert [pause(1.0) for _ in range(9)] == [0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 30.0, 30.0]
    assert [pause(ran_for) for ran_for in (60.0, 61.0, 1.0, 1.0)] == [30.0, 0.0, 0.0, 0.5]


def test_a_restarted_worker_that_never_gets_up_is_started_again(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        task = supervised()
        (slot,) = task.slots
        ours, theirs = socket.socketpair()
        slot.restarts = 1
        slot.begin(process, Channel(ours, FROM_WORKER))
        task._look()
        assert (slot.state, slot.alive) == ("starting", True)
        monkeypatch.setattr(module, "START_WITHIN_S", 0.0)
        task._look()
        assert (slot.state, slot.alive) == ("restarting", False)
        assert "did not start in time" in slot.reason
        await task.stop()
        theirs.close()

    asyncio.run(scenario())


def test_a_reporter_that_starts_only_the_second_time_is_counted() -> None:
    (slot,) = supervised().slots
    slot.start([])
    assert dict(slot.roster.reporters) == {}
    slot.start(["discard"])
    assert list(slot.roster.reporters) == ["discard"]
    slot.start([])  # what it sent stays in the sums
    assert list(slot.roster.reporters) == ["discard"]
