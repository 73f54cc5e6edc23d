"""The spool: what was written comes back in order, whatever happened to its process, and what does not is counted."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otus_core.pipeline.segments import FRAME, MAGIC, Segment
from otus_core.pipeline.spool import Range, Spool, SpoolError, SpoolLimits

LARGE = SpoolLimits(1 << 30, 86400.0)


class Bench:
    """A spool in a folder, and what it told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost: dict[str, int] = {}
        self.gone: list[Range] = []
        self._open: list[Spool] = []

    def open(self, worker: int = 0, workers: int = 1, limits: SpoolLimits = LARGE) -> tuple[Spool, int]:
        spool = Spool(self.path, worker, workers, limits, on_lost=self._lose, on_gone=self.gone.append)
        resent = spool.open()
        self._open.append(spool)
        return spool, resent

    def kill(self) -> None:
        """End as a killed process does: nothing is finished, the lock goes."""
        for spool in self._open:
            files = [segment._descriptor for segment in spool._segments if segment._descriptor >= 0]
            for descriptor in (*files, *spool._positions.values(), *spool._locks):
                os.close(descriptor)
        self._open = []

    def end(self) -> None:
        for spool in self._open:
            spool.close()

    def _lose(self, reason: str, n: int) -> None:
        self.lost[reason] = self.lost.get(reason, 0) + n

    def files(self, kind: str) -> list[Path]:
        return sorted(self.path.glob(f"worker-*/*.{kind}"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "spool")
    yield made
    made.end()


def numbered(first: int, count: int, size: int = 40) -> list[bytes]:
    return [b"%06d" % n + b"x" * size for n in range(first, first + count)]


def numbers(records: list[bytes]) -> list[int]:
    return [int(record[:6]) for record in records]


def drain(spool: Spool, most: int = 7) -> list[int]:
    found = []
    while (given := spool.take(most)) is not None:
        found += numbers(given.records)
        spool.settle(given)
    return found


def test_what_was_written_comes_back_in_order_and_leaves_nothing_behind(bench: Bench) -> None:
    spool, _ = bench.open()
    for first in range(0, 100, 10):
        spool.append(numbered(first, 10))
    assert (spool.count, spool.waiting) == (100, 100)
    assert drain(spool) == list(range(100))
    assert (spool.count, spool.bytes_held, bench.files("spool"), bench.files("open")) == (0, 0, [], [])


def test_nobody_else_can_read_it(bench: Bench) -> None:
    os.umask(os.umask(0))
    spool, _ = bench.open()
    spool.append(numbered(0, 3))
    assert {path.stat().st_mode & 0o777 for path in bench.path.glob("worker-0/*")} == {0o600}
    assert (bench.path / "worker-0").stat().st_mode & 0o777 == 0o700


def test_a_killed_process_leaves_everything_that_was_not_settled(bench: Bench) -> None:
    spool, resent = bench.open()
    assert resent == 0
    spool.append(numbered(0, 100))
    first, second, third = (spool.take(10) for _ in range(3))
    assert first is not None and second is not None and third is not None
    spool.settle(third)
    spool.settle(first)
    spool.append(numbered(100, 5))
    bench.kill()
    spool, resent = bench.open()
    assert resent == 10  # the second; the third, which ended before it, is sent again as well
    assert drain(spool) == list(range(10, 105))
    assert bench.lost == {}


@pytest.mark.parametrize("cut", [1, FRAME.size - 1, FRAME.size, FRAME.size + 20])
def test_what_a_crash_left_half_written_is_cut_off(bench: Bench, cut: int) -> None:
    spool, _ = bench.open()
    spool.append(numbered(0, 10))
    bench.kill()
    (path,) = bench.files("open")
    os.truncate(path, path.stat().st_size - cut)
    spool, _ = bench.open()
    assert drain(spool) == list(range(9))


def test_a_damaged_record_is_counted_and_its_segment_set_aside(bench: Bench) -> None:
    spool, _ = bench.open()
    spool.append(numbered(0, 100))
    spool.close()
    (path,) = bench.files("spool")
    data = bytearray(path.read_bytes())
    data[len(MAGIC) + 50 * (FRAME.size + 46) + FRAME.size + 3] ^= 1
    path.write_bytes(data)
    spool, _ = bench.open()
    assert drain(spool) == [n for n in range(100) if n != 50]
    assert bench.lost == {"spool_damaged": 1}
    assert spool.count == 0
    assert [one.read_bytes() for one in bench.files("damaged")] == [data]


@pytest.mark.parametrize("damage", ["length", "short", "empty", "foreign"])
def test_a_segment_that_cannot_be_read_on_loses_the_rest_which_is_counted(bench: Bench, damage: str) -> None:
    spool, _ = bench.open()
    spool.append(numbered(0, 100))
    spool.close()
    (path,) = bench.files("spool")
    data = bytearray(path.read_bytes())
    at = len(MAGIC) + 50 * (FRAME.size + 46)
    if damage == "length":
        data[at + 3] = 0x7F
    elif damage == "foreign":
        data[:8], at = b"OTUSSPL9", 0
    else:
        at = at if damage == "short" else 0
        del data[at:]
    path.write_bytes(data)
    spool, _ = bench.open()
    spool.append(numbered(100, 5))
    kept = 50 if at else 0
    assert drain(spool) == [*range(kept), *range(100, 105)]
    assert bench.lost == {"spool_damaged": 100 - kept}
    assert len(bench.files("damaged")) == 1


def test_the_oldest_segment_goes_when_there_is_no_room(bench: Bench) -> None:
    spool, _ = bench.open(limits=SpoolLimits(1 << 20, 86400.0))
    written = 0
    for _ in range(400):
        spool.append(numbered(written, 10, 1000))
        written += 10
        assert spool.bytes_held <= 1 << 20
        assert spool.count + bench.lost.get("spool_full", 0) == written
    left = drain(spool)
    assert left == list(range(bench.lost["spool_full"], written))
    assert len(left) > 900


@pytest.mark.parametrize("step", [0, -1, -(10**9)], ids=["stands still", "goes back by 1 ns", "goes back by seconds"])
def test_records_stay_in_order_though_the_clock_does_not_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Files are in the order of their births, which the clock gives: a machine without a battery may have it set back
    at any time.
    """
    limits = SpoolLimits(4 << 20, 86400.0)
    times = itertools.count(1_771_668_600 * 10**9, step)
    monkeypatch.setattr(time, "time_ns", lambda: next(times))
    spool, _ = bench.open(limits=limits)
    for n in range(0, 1500, 10):
        spool.append(numbered(n, 10, 1000))
    given = spool.take(100)
    assert given is not None and numbers(given.records) == list(range(100))
    spool.settle(given)
    bench.kill()
    again, _ = bench.open(limits=limits)
    for n in range(1500, 2000, 10):
        again.append(numbered(n, 10, 1000))
    assert len(bench.files("*")) > 3
    assert drain(again) == list(range(100, 2000))
    assert bench.lost == {}


def test_what_is_given_out_is_not_counted_as_lost_with_its_segment(bench: Bench) -> None:
    spool, _ = bench.open(limits=SpoolLimits(1 << 20, 86400.0))
    spool.append(numbered(0, 10, 1000))
    given = spool.take(4)
    assert given is not None
    for n in range(200):
        spool.append(numbered(10 + 10 * n, 10, 1000))
    assert given.is_gone and bench.gone == [given]
    assert bench.lost["spool_full"] + spool.count + 4 == 2010
    spool.settle(given)
    assert bench.lost["spool_full"] + spool.count + 4 == 2010


def test_what_is_too_old_is_given_up(bench: Bench) -> None:
    spool, _ = bench.open(limits=SpoolLimits(1 << 20, 1.0))
    spool.append(numbered(0, 10))
    time.sleep(0.6)  # the age of the test's own message
    spool.append(numbered(10, 10))
    time.sleep(0.6)
    spool.expire()
    assert bench.lost == {"spool_expired": 10}
    assert drain(spool) == list(range(10, 20))


def test_two_writers_of_one_path_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otus_core.pipeline.spool.LOCK_WITHIN_S", 0.1)
    bench.open()
    with pytest.raises(SpoolError, match=f"in use by process {os.getpid()}"):
        bench.open()
    bench.open(1, 2)  # another worker of the task has a folder of its own


def test_a_folder_that_cannot_be_used_is_named(bench: Bench) -> None:
    bench.path.write_text("a file")
    with pytest.raises(SpoolError, match="worker-0: "):
        bench.open()


def test_symbolic_links_are_not_followed(bench: Bench, tmp_path: Path) -> None:
    (bench.path / "worker-0").mkdir(parents=True)
    (bench.path / "worker-0" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolError):
        bench.open()
    assert not (tmp_path / "elsewhere").exists()


def test_what_workers_left_that_there_are_no_more_is_sent_by_the_others(bench: Bench) -> None:
    for worker in range(4):
        spool, _ = bench.open(worker, 4)
        spool.append(numbered(100 * worker, 10))
        spool.close()
    found = [sorted(drain(bench.open(worker, 2)[0])) for worker in range(2)]
    assert found == [[*range(10), *range(200, 210)], [*range(100, 110), *range(300, 310)]]


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_lost_or_out_of_order_whatever_is_done(bench: Bench, seed: int) -> None:
    """A model: takes and settlements in any order, ends and kills; every record comes at least once, in order within
    one life.
    """
    chance = random.Random(seed)
    spool, _ = bench.open(limits=SpoolLimits(1 << 30, 86400.0))
    spool._segment_bytes = 2000
    written, settled, given = 0, set[int](), list[Range]()
    last = -1
    for _ in range(300):
        step = chance.random()
        if step < 0.4:
            n = chance.randint(1, 30)
            spool.append(numbered(written, n))
            written += n
        elif step < 0.7 and (taken := spool.take(chance.randint(1, 20))) is not None:
            found = numbers(taken.records)
            assert found == list(range(found[0], found[0] + len(found))) and found[0] > last
            last = found[-1]
            given.append(taken)
        elif step < 0.95 and given:
            done = given.pop(chance.randrange(len(given)))
            settled.update(numbers(done.records))
            spool.settle(done)
        elif step >= 0.97:
            if chance.random() < 0.5:
                spool.close()
                bench._open.remove(spool)
            else:
                bench.kill()
            spool, _ = bench.open()
            spool._segment_bytes = 2000
            given, last = [], -1
            unsettled = set(range(written)) - settled
            assert spool.count >= len(unsettled)
    for one in given:
        settled.update(numbers(one.records))
        spool.settle(one)
    settled.update(drain(spool))
    assert settled == set(range(written))
    assert (spool.count, bench.files("spool"), bench.files("open"), bench.lost) == (0, [], [], {})


def test_a_process_that_is_killed_while_it_writes_leaves_only_whole_records(bench: Bench) -> None:
    code = f"""
import sys
from pathlib import Path
from otus_core.pipeline.spool import Spool, SpoolLimits
spool = Spool(Path({str(bench.path)!r}), 0, 1, SpoolLimits(1 << 30, 86400.0), on_lost=print, on_gone=print)
spool.open()
n = 0
while True:
    spool.append([b"%06d" % i + b"x" * 5000 for i in range(n, n + 20)])
    n += 20
    print(n, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = 0
    while told < 1000:
        told = int(process.stdout.readline())
    process.kill()
    told = max(told, *map(int, process.stdout.read().split()), 0)
    process.wait()
    spool, _ = bench.open()
    found = drain(spool, 500)
    assert found == list(range(len(found)))
    assert len(found) >= told


def test_a_disk_that_is_full_takes_all_of_an_append_or_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, _ = bench.open()
    spool.append(numbered(0, 10))
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:100]) and _full())
    with pytest.raises(OSError, match="No space"):
        spool.append(numbered(10, 10))
    monkeypatch.undo()
    spool.append(numbered(20, 5))
    assert drain(spool) == [*range(10), *range(20, 25)]


def _full() -> int:
    raise OSError(28, "No space left on device")


def test_files_that_are_no_segments_are_left_alone(bench: Bench) -> None:
    (bench.path / "worker-0").mkdir(parents=True)
    other = bench.path / "worker-0" / "notes.txt"
    other.write_text("mine")
    assert Segment.find(other) is None
    bench.open()
    assert other.read_text() == "mine"


@pytest.mark.parametrize("zeros", [1, 8, 4096, 1 << 20])
def test_zeros_that_a_power_cut_left_behind_what_was_written_are_no_records(bench: Bench, zeros: int) -> None:
    spool, _ = bench.open()
    spool.append([b"a", b"b"])
    bench.kill()
    (path,) = bench.files("open")
    with path.open("ab") as file:
        file.write(bytes(zeros))
    spool, _ = bench.open()
    assert (spool.count, bench.lost) == (2, {})
    given = spool.take(10)
    assert given is not None and given.records == [b"a", b"b"]


def test_what_cannot_be_synced_for_want_of_descriptors_is_synced_later(bench: Bench) -> None:
    spool, _ = bench.open()
    spool.append([b"x" * 100])
    before = len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, hard))
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        with pytest.raises(OSError, match="Too many open files"):
            spool.take_unsynced()
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) == before
    later = spool.take_unsynced()
    kinds = {stat.S_IFMT(os.fstat(descriptor).st_mode) for descriptor in later}
    assert kinds == {stat.S_IFREG, stat.S_IFDIR}  # the file and its folders
    for descriptor in later:
        os.close(descriptor)
    assert spool.take_unsynced() == []
