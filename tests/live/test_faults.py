"""Faults of a live run: killed, stopped and hung processes, links that come and go, two tasks of which one suffers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from otus_core.supervise.supervisor import HUNG_AFTER_S
from otus_core.testing import packets
from tests.live.net import OTUS, Pair, Run, accounted, at_rest, children_of, has_ring, is_zombie, killed
from tests.live.test_live import message, seen
from tests.patience import beyond, keeps, took, wait

pytestmark = pytest.mark.live

Start = Callable[..., Run]
FILTER = ("--format", "json", "--bpf", "udp port 5060")


def some(first: int, count: int, size: int = 0) -> list[bytes]:
    return [packets.udp(message(n) + b"x" * size, src=f"10.5.0.{n % 250 + 1}") for n in range(first, first + count)]


def restarted(run: Run, old: list[int]) -> list[int]:
    found: list[int] = []

    def back() -> bool:
        found[:] = run.rings()
        return len(found) == run.workers and found != old

    wait(back, what="the worker is back")
    return found


def test_a_killed_worker_loses_nothing_that_it_had_not_taken(pair: Pair, run: Start) -> None:
    def killed_and_back() -> float:
        one = run(*FILTER)
        (worker,) = one.rings()
        pair.send(some(0, 100))
        wait(lambda: len(one.lines()) == 100)
        at_rest(worker)
        os.kill(worker, signal.SIGSTOP)
        pair.send(some(100, 300))
        if not is_zombie(worker):  # a machine that stood still has had it killed already, as hung
            os.kill(worker, signal.SIGKILL)
        away = took(lambda: restarted(one, [worker]))
        pair.send(some(400, 100))
        wait(lambda: len(one.lines()) == 500)
        accounted(one.stop())
        assert Counter(seen(one)) == Counter(f"call-{n}" for n in range(500))
        assert "worker_died" in one.errors()
        return away

    keeps(0.0, lambda: beyond(3.0, killed_and_back), what="beyond 3 s:")


def test_the_frames_of_a_dead_worker_are_all_accounted_for(pair: Pair, run: Start) -> None:
    one = run("--format", "none", "--bpf", "udp port 5060")
    worker = one.rings()
    for n in range(3):
        pair.send(some(1000 * n, 1000))
        os.kill(worker[0], signal.SIGKILL)
        worker = restarted(one, worker)
    pair.send(some(5000, 500))
    summary = one.stop(status=None)
    accounted(summary)
    assert summary["kernel_rx"] == 3500
    unreported = summary["reporters"]["discard"]["dropped"].get("worker_crash", 0)
    assert one.process.returncode == bool(unreported)  # reports were lost, and the status says so
    lost = summary["dropped"].get("worker_crash", 0) + unreported
    # A parser that ran at each of the three deaths is taken for their cause
    cut_off = summary["dropped"].get("unmatched", 0)
    assert summary["reporters"]["discard"]["reported"] == 3500 - lost - cut_off


def test_only_the_killed_worker_loses_frames(pair: Pair, run: Start) -> None:
    one = run(*FILTER, workers=2)
    before = one.rings()
    pair.send(some(0, 200))
    wait(lambda: len(one.lines()) == 200)
    at_rest(before[0])
    killed(before[0])
    pair.send(some(200, 200))
    after = restarted(one, before)
    assert before[1] in after
    pair.send(some(400, 200))
    accounted(one.stop())
    assert Counter(seen(one)) == Counter(f"call-{n}" for n in range(600))


def test_a_hung_worker_is_replaced_within_five_seconds(pair: Pair, run: Start) -> None:
    def hung_and_replaced() -> float:
        one = run(*FILTER)
        (worker,) = one.rings()
        os.kill(worker, signal.SIGSTOP)
        begun = time.monotonic()
        pair.send(some(0, 100))
        restarted(one, [worker])
        away = time.monotonic() - begun
        wait(lambda: len(one.lines()) == 100)
        accounted(one.stop())
        assert "hung" in one.errors()
        return away

    keeps(0.0, lambda: beyond(5.0, hung_and_replaced), what="beyond 5 s:")


def test_a_machine_that_stood_still_makes_no_worker_hung(pair: Pair, run: Start) -> None:
    one = run(*FILTER)
    (worker,) = one.rings()
    for pid in (worker, one.process.pid):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(HUNG_AFTER_S + 1.0)
    os.kill(one.process.pid, signal.SIGCONT)  # it looks before its worker can have moved
    time.sleep(0.5)
    os.kill(worker, signal.SIGCONT)
    pair.send(some(0, 100))
    wait(lambda: len(one.lines()) == 100)
    assert one.rings() == [worker]
    accounted(one.stop())
    assert "hung" not in one.errors()


def test_no_worker_outlives_its_parent(pair: Pair, run: Start) -> None:
    one = run(*FILTER, workers=2)
    left = children_of(one.process.pid)
    assert len(left) >= 3  # two workers and the opener
    one.process.kill()
    one.process.wait()
    wait(lambda: all(is_zombie(pid) for pid in left), what="they are gone")
    wait(lambda: pair.run(pair.near, "cat", "/proc/net/packet").stdout.count(b"\n") == 1, what="no socket is left")


def test_a_link_that_goes_down_and_comes_back(pair: Pair, run: Start) -> None:
    one = run(*FILTER)
    pair.send(some(0, 50))
    wait(lambda: len(one.lines()) == 50)
    times = 0

    def down_and_up() -> float:
        nonlocal times
        times += 1
        pair.link("down")
        wait(lambda: one.errors().count("the interface is down") == times)
        begun = time.monotonic()
        pair.link("up")
        wait(lambda: one.errors().count("capture_resumed") == times)
        return time.monotonic() - begun

    keeps(2.0, down_and_up)
    pair.send(some(50, 50))
    summary = one.stop()
    accounted(summary)
    assert seen(one) == [f"call-{n}" for n in range(100)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interface_deleted_and_made_again(pair: Pair, run: Start, workers: int) -> None:
    one = run(*FILTER, workers=workers)
    pair.send(some(0, 50))
    wait(lambda: len(one.lines()) == 50)
    resumed = 0

    def gone_and_back() -> float:
        nonlocal resumed
        resumed += workers
        pair.disconnect()
        wait(lambda: one.errors().count("the interface is gone") == resumed)
        pair.connect()
        return took(lambda: wait(lambda: one.errors().count("capture_resumed") == resumed))

    keeps(2.0, gone_and_back)
    pair.send(some(50, 100))
    wait(lambda: len(one.lines()) == 150)
    accounted(one.stop())
    assert Counter(seen(one)) == Counter(f"call-{n}" for n in range(150))


def test_an_interface_that_is_absent_at_start(pair: Pair, run: Start) -> None:
    def absent_and_there() -> float:
        pair.disconnect()
        one = run(*FILTER, waits=False)
        wait(lambda: "there is no such interface" in one.errors())
        pair.connect()
        waited = took(lambda: wait(lambda: one.rings()))
        pair.send(some(0, 50))
        wait(lambda: len(one.lines()) == 50)
        accounted(one.stop())
        return waited

    keeps(0.0, lambda: beyond(3.0, absent_and_there), what="beyond 3 s:")


def test_interface_churn(pair: Pair, run: Start) -> None:
    one = run(*FILTER)
    other = run("-i", "lo", *FILTER)
    for n in range(8):
        pair.disconnect()
        time.sleep(0.05 * n)  # from faster to slower than the agent looks
        pair.connect()

    def comes_through() -> bool:
        pair.send(some(0, 1))
        time.sleep(0.1)
        return bool(one.lines())

    wait(comes_through, what="it captures from the last one")
    pair.send(some(1000, 100))
    wait(lambda: set(seen(one)) >= {f"call-{n}" for n in range(1000, 1100)})
    accounted(one.stop())
    assert other.stop()["frames_read"] == 0


def test_a_second_task_does_not_suffer(pair: Pair, run: Start) -> None:
    suffering, other = run(*FILTER), run(*FILTER)
    for n in range(3):
        (worker,) = suffering.rings()
        killed(worker)
        pair.send(some(100 * n, 100))
        restarted(suffering, [worker])
        # what it has taken must be reported before the next one dies, or it is lost, and counted so
        wait(lambda n=n: len(suffering.lines()) == 100 * (n + 1))
        at_rest(*suffering.rings())
    summary = other.stop()
    accounted(summary)
    assert seen(other) == [f"call-{n}" for n in range(300)]
    accounted(suffering.stop())


def test_an_output_that_nobody_reads_does_not_hold_up_the_capture(pair: Pair, tmp_path: Path) -> None:
    """A flooded interface, and a reporter whose pipe is full: the kernel drops nothing, and what the reporter lost is
    counted.
    """
    summary = tmp_path / "summary.json"
    command = (OTUS, "run", "-i", "eth0", *FILTER, "--summary-json", summary)
    with (tmp_path / "errors").open("wb") as errors:
        process = pair.popen(pair.near, *command, stdout=subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    try:
        wait(lambda: any(has_ring(pid) for pid in children_of(process.pid)), what="worker")
        for n in range(20):
            pair.send(some(2000 * n, 2000))
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=120)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    told = json.loads(summary.read_text())
    accounted(told)
    assert (told["kernel_rx"], told["kernel_drop"], told["kept"]) == (40_000, 0, 40_000)
    console = told["reporters"]["console"]
    assert console["reported"] < 40_000
    assert console["reported"] + sum(console["dropped"].values()) == 40_000
    assert status == 1
