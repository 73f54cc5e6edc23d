"""Delivery with a spool: nothing is lost while a destination is away, nor when the process ends meanwhile."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from otus_core import BaseReporter, OutputPacket, ReportResult
from otus_core.model.accounts import Accounts
from otus_core.pipeline import spooler
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.call import DeliveryLimits
from otus_core.pipeline.counters import Roster, book_crash, counter_names, unaccounted
from otus_core.pipeline.delivery import Delivery
from otus_core.pipeline.spool import SpoolLimits
from otus_core.pipeline.spooler import Spooler
from tests.patience import PATIENCE_S

ROSTER = Roster((), (), {"r": ("auth",), "spare": ()}, frozenset({"spare"}))
LARGE = SpoolLimits(1 << 30, 86400.0)


class Destination(BaseReporter):
    """Takes messages while it is there. ``hangs``: calls do not come back instead of being refused."""

    def __init__(self, *, away: bool = False, hangs: bool = False) -> None:
        self.away, self.hangs = away, hangs
        self.got: list[int] = []
        self._back = asyncio.Event()

    def come_back(self) -> None:
        self.away = False
        self._back.set()

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        if self.away:
            if not self.hangs:
                raise ConnectionRefusedError
            await self._back.wait()
        self.got += [int(output.raw_payload) for output in batch]
        return ReportResult(len(batch))


class Bench:
    """One life of a worker: its delivery, buffer and spool. Counters outlive it."""

    def __init__(
        self,
        path: Path,
        reporter: BaseReporter,
        accounts: Accounts | None = None,
        *,
        live: bool = True,
        limits: SpoolLimits = LARGE,
        fallback: BaseReporter | None = None,
        **others: Any,
    ) -> None:
        self.accounts = accounts or Accounts(counter_names(ROSTER, ()))
        self.errors: list[str] = []
        self.spooler = Spooler("r", path, 0, 1, limits, self.accounts, self._complain)
        self.spooler.open()
        self.spare = None if fallback is None else self._make("spare", fallback, live, None, {})
        self.delivery = self._make("r", reporter, live, self.spooler, others)
        self.delivery.fallback = self.spare

    def _make(
        self, name: str, reporter: BaseReporter, live: bool, spooler: Spooler | None, others: dict[str, Any]
    ) -> Delivery:
        chosen = {"batch_size": 10, "batch_timeout": 0.01, "send_timeout": 5.0, "max_retries": 1} | others
        limits = DeliveryLimits(**({"max_in_flight": 1, "own_retries": False} | chosen))
        buffer = SendBuffer(self.accounts, name, 100, 1 << 30, not live, spooler is not None)
        delivery = Delivery(
            name,
            reporter,
            buffer,
            self.accounts,
            limits,
            on_error=self._complain,
            on_closed=print,
            mark=1,
            spooler=spooler,
        )
        delivery.begin()
        return delivery

    def _complain(self, kind: str, name: str, error: BaseException) -> None:
        self.errors.append(str(error))

    async def offer(self, first: int, count: int) -> None:
        """Offer messages as a live source does, some of them at a time."""
        for start in range(first, first + count, 50):
            for n in range(start, min(start + 50, first + count)):
                self.delivery.buffer.offer(OutputPacket(raw_payload=b"%d" % n, labels={"n": str(n)}))
            self.delivery.kick()
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.delivery.kick()
            await asyncio.sleep(0.01)

    def __getitem__(self, term: str) -> int:
        return self.accounts[f"r.{term}"]

    def die(self) -> None:
        """End as a killed worker does, its loop and all, and have the parent count what died with it."""
        delivery = self.delivery
        for task in (delivery._runner, *(call.task for call in delivery._calls)):
            if task is not None:
                task.get_coro().close()  # type: ignore[union-attr]
        spool = self.spooler._spool
        for descriptor in (*spool._positions.values(), *spool._locks):
            os.close(descriptor)

    @property
    def off(self) -> int:
        """How far the reporters' lines of the identity are from closing."""
        counters = self.accounts.snapshot()
        counters["matched"] = counters["units"] = counters["frames_read"] = counters["kept"] = counters["r.offered"]
        return unaccounted(counters, ROSTER)


def run(scenario: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
@pytest.mark.parametrize("max_in_flight", [1, 4])
def test_an_outage_is_bridged_in_order(tmp_path: Path, hangs: bool, max_in_flight: int) -> None:
    async def scenario() -> None:
        there = Destination()
        bench = Bench(tmp_path, there, own_retries=hangs, max_in_flight=max_in_flight)
        await bench.offer(0, 30)
        await bench.until(lambda: bench["reported"] == 30)
        assert bench["spool_written"] == 0
        there.away, there.hangs = True, hangs
        await bench.offer(30, 2000)  # the buffer has room for 100
        await bench.until(lambda: bench["spooled"] == 2000)
        assert (bench["queued"], bench["in_flight"], bench.off) == (0, 0, 0)
        there.come_back()
        await bench.until(lambda: bench["reported"] == 2030)
        assert there.got == list(range(2030))
        assert (bench["spool_written"], bench["spool_sent"], bench["spooled"], bench.off) == (2000, 2000, 0, 0)
        written = bench["spool_written"]
        await bench.offer(2030, 30)
        await bench.until(lambda: bench["reported"] == 2060)
        assert bench["spool_written"] == written  # the disk is left alone again
        await bench.delivery.drain(5.0)

    run(scenario)


def test_a_stop_leaves_everything_on_disk_and_the_next_start_sends_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path, Destination(away=True), max_in_flight=4)
        await bench.offer(0, 95)
        await bench.delivery.drain(0.2)
        assert (bench["spooled"], bench.off) == (95, 0)
        there = Destination()
        again = Bench(tmp_path, there)
        assert (again["spooled"], again["spool_found"]) == (95, 95)
        await again.offer(95, 20)
        await again.until(lambda: again["reported"] == 115)
        assert there.got == list(range(115))
        assert again.off == 0
        await again.delivery.drain(5.0)

    run(scenario)


def test_a_kill_in_an_outage_loses_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        there = Destination(away=True, hangs=True)
        bench = Bench(tmp_path, there, own_retries=True, max_in_flight=4)
        await bench.offer(0, 500)
        await bench.until(lambda: bench["spooled"] == 500)
        bench.die()
        for name, n in book_crash(bench.accounts.snapshot(), ROSTER).items():
            bench.accounts.add(name, n)
        assert bench["dropped{worker_crash}"] == 0
        back = Destination()
        again = Bench(tmp_path, back, bench.accounts)
        assert (again["spooled"], again["spool_found"], again["spool_resent"]) == (500, 0, 40)
        await again.offer(500, 50)
        await again.until(lambda: again["reported"] == 550)
        assert back.got == list(range(550))
        assert again.off == 0
        await again.delivery.drain(5.0)

    run(scenario)


def test_what_somebody_took_away_is_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path, Destination(away=True))
        await bench.offer(0, 95)
        await bench.delivery.drain(0.2)
        for name in os.listdir(tmp_path / "worker-0"):
            if name.endswith(".spool"):
                os.unlink(tmp_path / "worker-0" / name)
        again = Bench(tmp_path, Destination(), bench.accounts)
        assert (again["dropped{spool_damaged}"], again["spooled"], again.off) == (95, 0, 0)
        await again.delivery.drain(1.0)

    run(scenario)


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        there = Destination(away=True)
        bench = Bench(tmp_path, there, limits=SpoolLimits(1 << 18, 86400.0))
        await bench.offer(0, 5000)
        await bench.until(lambda: bench["dropped{spool_full}"] > 0 and not bench["queued"])
        assert bench.off == 0
        there.come_back()
        await bench.until(lambda: not bench["spooled"] + bench["in_flight"])
        assert bench["reported"] + bench["dropped{spool_full}"] == 5000
        assert there.got[-500:] == list(range(4500, 5000))
        await bench.delivery.drain(5.0)
        assert bench.off == 0

    run(scenario)


def test_what_a_full_spool_has_no_room_for_goes_to_the_fallback(tmp_path: Path) -> None:
    async def scenario() -> None:
        spare, there = Destination(), Destination(away=True)
        bench = Bench(tmp_path, there, limits=SpoolLimits(1 << 18, 86400.0), fallback=spare)
        await bench.offer(0, 5000)
        await bench.until(lambda: bench["moved_to_fallback"] > 0 and not bench["queued"])
        there.come_back()
        await bench.until(lambda: not bench["spooled"] + bench["in_flight"])
        assert bench.spare is not None
        await bench.delivery.drain(5.0)
        await bench.spare.drain(5.0)
        assert sorted(spare.got + there.got) == list(range(5000))
        assert there.got == list(range(len(there.got)))
        assert bench.off == 0

    run(scenario)


def test_a_source_that_can_wait_waits_for_a_full_spool(tmp_path: Path) -> None:
    async def scenario() -> None:
        there = Destination(away=True)
        bench = Bench(tmp_path, there, limits=SpoolLimits(1 << 16, 86400.0), live=False)
        n = 0
        while not bench.delivery.buffer.full or n < 200:
            await bench.offer(n, 10)
            n += 10
        there.come_back()
        await bench.until(lambda: bench["reported"] == n)
        assert there.got == list(range(n))
        await bench.delivery.drain(5.0)
        assert bench.off == 0

    run(scenario)


@pytest.mark.parametrize("given", ["some", "places", "final"])
def test_what_is_given_up_for_good_does_not_stay_on_disk(tmp_path: Path, given: str) -> None:
    class Picky(Destination):
        async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
            if self.away:
                raise ConnectionRefusedError
            odd = [place for place, output in enumerate(batch) if int(output.raw_payload) % 2]
            even = len(batch) - len(odd)
            if given == "some":
                return ReportResult(even, {"auth": len(odd)})
            return ReportResult(
                even, {"auth": odd} if given == "places" else {}, {}, {"auth": odd} if given == "final" else {}
            )

    async def scenario() -> None:
        there = Picky(away=True)
        bench = Bench(tmp_path, there)
        await bench.offer(0, 500)
        await bench.until(lambda: bench["spooled"] == 500)
        there.come_back()
        await bench.until(lambda: not bench["spooled"])
        assert (bench["reported"], bench["dropped{report_error:auth}"], bench.off) == (250, 250, 0)
        await bench.delivery.drain(5.0)

    run(scenario)


def test_a_disk_that_takes_nothing_leaves_messages_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async def scenario() -> None:
        there = Destination(away=True)
        bench = Bench(tmp_path, there)
        monkeypatch.setattr("otus_core.pipeline.segments.Segment.append", full)
        await bench.offer(0, 80)
        await bench.until(lambda: any("No space left" in error for error in bench.errors))
        assert (bench["spooled"], bench["queued"] + bench["in_flight"], bench.off) == (0, 80, 0)
        there.come_back()
        await bench.until(lambda: bench["reported"] == 80)
        assert there.got == list(range(80))
        await bench.delivery.drain(5.0)

    run(scenario)


def test_a_message_that_cannot_be_written_is_counted_alone(tmp_path: Path) -> None:
    class Broken:
        def to_json(self) -> bytes:
            raise RuntimeError("no JSON")

    async def scenario() -> None:
        there = Destination(away=True)
        bench = Bench(tmp_path, there)
        await bench.offer(0, 10)
        await bench.until(lambda: bench["spooled"] == 10)
        bench.delivery.buffer.offer(OutputPacket(raw_payload=b"10", payload=Broken()))
        await bench.offer(11, 10)
        await bench.until(lambda: not bench["queued"])
        assert (bench["spooled"], bench["dropped{spool_error}"], bench.off) == (20, 1, 0)
        there.come_back()
        await bench.until(lambda: bench["reported"] == 20)
        await bench.delivery.drain(5.0)

    run(scenario)


def test_what_is_written_is_brought_to_the_disk_soon_and_never_by_the_packets_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[str, list[bool]] = {}
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        real(descriptor)
        synced.setdefault(Path(path).name, []).append(threading.current_thread() is threading.main_thread())

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(spooler, "SYNC_EVERY_S", 0.05)

    async def scenario() -> None:
        bench = Bench(tmp_path / "spool", Destination(away=True))
        await bench.offer(0, 500)
        (segment,) = (tmp_path / "spool" / "worker-0").glob("*.open")
        # the entries of new files and folders too
        await bench.until(lambda: {segment.name, "spool", "worker-0"} <= set(synced))
        many = len(synced[segment.name])
        await bench.offer(500, 50)
        await bench.until(lambda: len(synced[segment.name]) > many)
        assert not any(by_main for threads in synced.values() for by_main in threads)
        await bench.delivery.drain(0.2)
        assert bench["spooled"] == 550

    run(scenario)
