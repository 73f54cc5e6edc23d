"""The contract suite of reporters passes a good one, and fails each that breaks a rule on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import otus_core
from otus_core import OutputPacket, Reporter, ReportResult
from otus_core.testing.contract import ReporterContract, reporter
from tests.core.testing.suites import failing
from tests.patience import free_port


@otus_core.configuration
class Config:
    port: int = otus_core.option(help="Where the destination listens")


class Destination:
    """A server for one test: it takes lines, and answers each with what ``answer`` gives."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.answer: Callable[[bytes], bytes] = lambda _line: b"ok\n"
        self.hangs = False


SINK = Destination()
"""What is there of a destination; a reporter of this test talks to it without a socket, so that it can do anything."""


class Good(otus_core.BaseReporter):
    """Sends a line for each message, and waits for its answer."""

    def __init__(self, config: Config) -> None:
        self._port = config.port
        self._open: set[asyncio.Task[Any]] = set()

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        lines = otus_core.encode_json_lines(batch).splitlines()
        answers = [await self.send(line) for line in lines]
        refused = [n for n, answer in enumerate(answers) if answer != b"ok\n"]
        return ReportResult(reported=len(batch) - len(refused), failed={"refused": refused} if refused else {})

    async def send(self, line: bytes) -> bytes:
        if self._port == 1:
            raise ConnectionRefusedError("nobody listens")
        if SINK.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if SINK.answer(line) == b"ok\n":
            SINK.lines.append(line)
        return SINK.answer(line)


class Suite(ReporterContract):
    config = {"port": 2}  # noqa: RUF012 - as authors write it
    unreachable = {"port": 1}  # noqa: RUF012

    def arrived(self) -> int:
        return len(SINK.lines)

    @contextmanager
    def hanging(self) -> Iterator[dict[str, Any]]:
        SINK.hangs = True
        try:
            yield self.config
        finally:
            SINK.hangs = False

    @contextmanager
    def refusing(self) -> Iterator[dict[str, Any]]:
        SINK.answer = lambda line: b"no\n" if json.loads(line)["payload"] in ({"n": 1}, {"n": 4}) else b"ok\n"
        try:
            yield self.config
        finally:
            SINK.answer = lambda _line: b"ok\n"


class GivesNone(Good):
    async def report(self, batch: Sequence[OutputPacket]) -> Any:
        await super().report(batch)


class Forgets(Good):
    """Messages that have no fate."""

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        await super().report(batch)
        return ReportResult(reported=max(0, len(batch) - 1))


class Claims(Good):
    """Says that everything was reported, whatever the answer."""

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        await super().report(batch)
        return ReportResult(reported=len(batch))


class Undeclared(Good):
    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        return ReportResult(failed={"mood": len(batch)})


class Counts(Good):
    """Says how many were refused, and not which."""

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        result = await super().report(batch)
        return ReportResult(reported=result.reported, failed={why: len(which) for why, which in result.failed.items()})  # type: ignore[arg-type]


class SwallowsRefusal(Good):
    """A destination that is not there counts as reported."""

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        with contextlib.suppress(OSError):
            return await super().report(batch)
        return ReportResult(reported=len(batch))


class RaisesItsOwn(Good):
    async def send(self, line: bytes) -> bytes:
        try:
            return await super().send(line)
        except OSError as error:
            raise RuntimeError("no connection") from error


class IgnoresCancellation(Good):
    async def send(self, line: bytes) -> bytes:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                return await super().send(line)


class BreaksWhenCancelled(Good):
    """A lock that a cancelled call keeps."""

    is_busy = False

    async def send(self, line: bytes) -> bytes:
        if self.is_busy:
            raise RuntimeError("a call is open already")
        self.is_busy = True
        answer = await super().send(line)
        self.is_busy = False
        return answer


class OneAtATime(Good):
    """Two calls at once mix up what they share."""

    current: Sequence[OutputPacket] = ()

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        self.current = batch
        await asyncio.sleep(0)
        await super().report(self.current)
        return ReportResult(reported=len(self.current))


class WaitsForTheOther(Good):
    """A call ends when the next one comes: with the last it never does."""

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        with contextlib.suppress(AttributeError):
            self.gate.set()
        if not batch:
            return ReportResult()
        self.gate = asyncio.Event()
        await asyncio.wait_for(self.gate.wait(), 0.2)
        return await super().report(batch)


class Ascii(Good):
    async def send(self, line: bytes) -> bytes:
        return await super().send(line)

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        for output in batch:
            "".join(output.labels.values()).encode("ascii")
        return await super().report(batch)


class WantsLabels(Good):
    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        for output in batch:
            assert output.labels["sip.call_id"]
        return await super().report(batch)


class WantsPayloads(Good):
    """Reads payloads as objects: those from a spool are JSON."""

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        for output in batch:
            if output.labels.get("sip.method") == "INVITE":
                assert output.payload["n"] >= 0
        return await super().report(batch)


class StaysOpen(Good):
    """A descriptor for each life."""

    async def start(self) -> None:
        self.file = open("/dev/null")  # noqa: SIM115, ASYNC230
        FILES.append(self.file)


FILES: list[Any] = []


class LeavesATask(Good):
    async def start(self) -> None:
        TASKS.append(asyncio.ensure_future(asyncio.sleep(60)))


TASKS: list[Any] = []


class StopsSlowly(Good):
    async def stop(self) -> None:
        await asyncio.sleep(2)


class NeedsItsStart(Good):
    async def start(self) -> None:
        self.connection = object()

    async def stop(self) -> None:
        del self.connection


class SaysWhatCannotBeShown(Good):
    def status(self) -> Mapping[str, Any]:
        return {"state": object()}


class Once(Good):
    """Good for one batch."""

    is_used = False

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        if self.is_used and batch:
            return ReportResult()
        self.is_used = True
        return await super().report(batch)


class Prints(Good):
    def wire(self, context: otus_core.Context) -> None:
        self.stdout = context.stdout

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        assert self.stdout is not None
        await self.stdout.write(b"half a line")
        return await super().report(batch)


MUTANTS: dict[str, tuple[type[Good], str]] = {
    "gives None": (GivesNone, "test_every_message_of_a_batch_has_its_fate"),
    "forgets messages": (Forgets, "test_every_message_of_a_batch_has_its_fate"),
    "claims what was refused": (Claims, "test_a_part_that_is_refused_is_named"),
    "has undeclared reasons": (Undeclared, "test_every_message_of_a_batch_has_its_fate"),
    "counts what it should name": (Counts, "test_a_part_that_is_refused_is_named"),
    "swallows a refusal": (SwallowsRefusal, "test_a_destination_that_is_not_there_is_no_success"),
    "raises an error of its own": (RaisesItsOwn, "test_a_destination_that_is_not_there_is_no_success"),
    "ignores cancellation": (IgnoresCancellation, "test_a_destination_that_hangs_holds_up_nothing"),
    "breaks when cancelled": (BreaksWhenCancelled, "test_a_call_may_be_cancelled_anywhere"),
    "mixes up its calls": (OneAtATime, "test_as_many_calls_are_open_as_it_declares"),
    "waits for the other call": (WaitsForTheOther, "test_as_many_calls_are_open_as_it_declares"),
    "wants ASCII": (Ascii, "test_odd_messages_have_their_fate"),
    "wants labels": (WantsLabels, "test_odd_messages_have_their_fate"),
    "wants payloads": (WantsPayloads, "test_messages_from_a_spool_are_as_good_as_others"),
    "leaves a file open": (StaysOpen, "test_nothing_is_left_behind"),
    "leaves a task": (LeavesATask, "test_every_message_of_a_batch_has_its_fate"),
    "stops slowly": (StopsSlowly, "test_it_can_be_stopped_before_it_has_started"),
    "needs its start": (NeedsItsStart, "test_it_can_be_stopped_before_it_has_started"),
    "says what cannot be shown": (SaysWhatCannotBeShown, "test_every_message_of_a_batch_has_its_fate"),
    "is good for one batch": (Once, "test_one_batch_follows_the_other"),
    "prints half a line": (Prints, "test_every_message_of_a_batch_has_its_fate"),
}


def found_in(component: type, folder: Path, suite: type[ReporterContract] = Suite) -> set[str]:
    declaration = Reporter(
        name="odd", factory=component, config=Config, failure_reasons=("refused",), max_in_flight=4, summary="Odd"
    )
    SINK.lines.clear()
    return failing(suite, declaration, folder)


def test_a_good_one_passes(tmp_path: Path) -> None:
    assert found_in(Good, tmp_path) == set()


@pytest.mark.parametrize(("component", "expected"), MUTANTS.values(), ids=MUTANTS)
def test_each_broken_rule_is_found(
    component: type[Good], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "STOP_MAX_S", 0.5)
    monkeypatch.setattr(reporter, "LEAVES_MAX_S", 0.5)
    declaration = Reporter(
        name="odd", factory=component, config=Config, failure_reasons=("refused",), max_in_flight=4, summary="Odd"
    )
    SINK.lines.clear()
    only = {name: None for name in dir(Suite) if name.startswith("test_") and name != expected}
    test = failing(Suite, declaration, tmp_path, **{name: (lambda _self: None) for name in only})
    for file in FILES:
        file.close()
    FILES.clear()
    assert test == {expected}


def test_what_a_test_does_not_provide_is_left_out(tmp_path: Path) -> None:
    """A suite without the odd destinations still holds a reporter to everything else."""

    class Plain(ReporterContract):
        config = {"port": free_port()}  # noqa: RUF012

    assert found_in(Claims, tmp_path, Plain) == set()
    assert "test_every_message_of_a_batch_has_its_fate" in found_in(Forgets, tmp_path, Plain)
