"""The contract suite of capturers passes good ones, of files and live, and fails each that breaks a rule on purpose."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import otus_core
from otus_core import CaptureError, Capturer, CaptureStats, FrameBatch
from otus_core.testing import packets
from otus_core.testing.contract import CapturerContract, capturer_faults
from tests.core.testing.suites import failing

FRAMES = [packets.udp(b"%d" % n, src=f"10.0.0.{n % 20 + 1}") for n in range(60)]
BATCH = 7


@otus_core.configuration
class Config:
    path: str = otus_core.option(help="Where the frames are")


class Good(otus_core.BaseCapturer):
    """Reads a file of frames, each a line of hex; a line ``!`` stands for a source that breaks there."""

    def __init__(self, config: Config) -> None:
        self.path = config.path
        self.lines: list[str] = []
        self.at = 0
        self.given = 0

    def open(self, shard: int = 0, shards: int = 1, fds: Sequence[int] = ()) -> None:
        self.shard = otus_core.Shard(shard, shards)
        try:
            self.lines = Path(self.path).read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CaptureError(self.path, str(error)) from None

    def read(self) -> FrameBatch | None:
        lines = self.lines[self.at : self.at + BATCH]
        if not lines:
            return None
        frames = [(self.at + n, self.frame(line)) for n, line in enumerate(lines)]
        self.at += len(lines)
        own = [frame for frame in frames if self.shard.owns(frame[1])]
        self.given += len(own)
        return FrameBatch.from_frames(own)

    def frame(self, line: str) -> bytes:
        try:
            return bytes.fromhex(line) or bytes(1)
        except ValueError as error:
            self.at = len(self.lines)
            raise CaptureError(self.path, str(error)) from None

    def stats(self) -> CaptureStats:
        return CaptureStats(received=self.given)


class SaysNothing(Good):
    """A source that breaks is one that ends."""

    def frame(self, line: str) -> bytes:
        try:
            return bytes.fromhex(line) or bytes(1)
        except ValueError:
            self.lines = []
            return bytes(1)


class Leaks(Good):
    """What the library raises."""

    def frame(self, line: str) -> bytes:
        return bytes.fromhex(line) or bytes(1)


class NeverEnds(Good):
    """The same fault again and again."""

    def frame(self, line: str) -> bytes:
        try:
            return bytes.fromhex(line) or bytes(1)
        except ValueError as error:
            raise CaptureError(self.path, str(error), fatal=False) from None


class ForgetsWhere(Good):
    def open(self, shard: int = 0, shards: int = 1, fds: Sequence[int] = ()) -> None:
        try:
            super().open(shard, shards, fds)
        except CaptureError:
            raise CaptureError("source", "is not there") from None


class CountsNothing(Good):
    def stats(self) -> CaptureStats:
        return CaptureStats()


class SharesBadly(Good):
    def read(self) -> FrameBatch | None:
        self.shard = otus_core.Shard()
        return super().read()


class BeginsAgain(Good):
    def read(self) -> FrameBatch | None:
        batch = super().read()
        if batch is None:
            self.at = 0
        return batch


class StaysOpen(Good):
    def open(self, shard: int = 0, shards: int = 1, fds: Sequence[int] = ()) -> None:
        super().open(shard, shards, fds)
        OPEN.append(os.open("/dev/null", os.O_RDONLY))


OPEN: list[int] = []


class EmptyAtTheEnd(Good):
    """A file's end is ``None``, not an empty batch for ever."""

    def read(self) -> FrameBatch | None:
        return super().read() or FrameBatch.from_frames([])


MUTANTS: dict[str, tuple[type[Good], str]] = {
    "says nothing of a fault": (SaysNothing, "test_a_source_that_breaks_is_told"),
    "lets its library's errors through": (Leaks, "test_a_damaged_file_does_no_harm"),
    "never ends": (NeverEnds, "test_a_damaged_file_does_no_harm"),
    "forgets what was missing": (ForgetsWhere, "test_a_source_that_is_not_there_is_named"),
    "counts nothing": (CountsNothing, "test_every_frame_is_given_once_and_counted"),
    "shares badly": (SharesBadly, "test_workers_share_a_source"),
    "begins again": (BeginsAgain, "test_after_the_end_comes_nothing"),
    "leaves a file open": (StaysOpen, "test_closing_gives_everything_back"),
    "has no end": (EmptyAtTheEnd, "test_after_the_end_comes_nothing"),
}


@pytest.fixture
def about(tmp_path: Path) -> dict[str, Any]:
    file, broken = tmp_path / "frames.hex", tmp_path / "broken.hex"
    lines = [frame.hex() for frame in FRAMES]
    file.write_text("\n".join(lines))
    broken.write_text("\n".join([*lines[:10], "!", *lines[10:]]))
    return {
        "config": {"path": str(file)},
        "file": file,
        "broken": {"path": str(broken)},
        "missing": {"path": "/no-such-file"},
        "frames": len(FRAMES),
    }


def found_in(component: type, folder: Path, about: dict[str, Any], **more: Any) -> set[str]:
    declared = Capturer(name="odd", factory=component, config=Config, shardable=True, summary="Odd", **more)
    try:
        return failing(CapturerContract, declared, folder, **about)
    finally:
        for descriptor in OPEN:
            os.close(descriptor)
        OPEN.clear()


def test_a_good_one_passes(tmp_path: Path, about: dict[str, Any]) -> None:
    assert found_in(Good, tmp_path, about) == set()


@pytest.mark.parametrize(("component", "expected"), MUTANTS.values(), ids=MUTANTS)
def test_each_broken_rule_is_found(
    component: type, expected: str, tmp_path: Path, about: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otus_core.testing.contract.capturer.WITHIN_S", 1.0)
    monkeypatch.setattr(capturer_faults, "DAMAGED_MAX_S", 1.0)
    assert expected in found_in(component, tmp_path, about)


class Wire:
    """A wire for one test."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.is_cut = False


WIRE = Wire()


class Live(otus_core.BaseCapturer):
    """Takes in what is on the wire when it reads; after ``halt`` only what it has taken in."""

    ends_with: FrameBatch | None = FrameBatch.from_frames([])

    def __init__(self, config: Config) -> None:
        self.path = config.path
        self.taken: list[bytes] = []
        self.halted = False
        self.given = 0

    def open(self, shard: int = 0, shards: int = 1, fds: Sequence[int] = ()) -> None:
        if self.path != "wire0":
            raise CaptureError(self.path, "there is no such wire")
        WIRE.frames.clear()
        WIRE.is_cut = False

    def read(self) -> FrameBatch | None:
        if not self.halted:
            self.take_in()
        frames, self.taken = self.taken[:BATCH], self.taken[BATCH:]
        if not frames:
            return self.ends_with if self.halted else FrameBatch.from_frames([])
        self.given += len(frames)
        return FrameBatch.from_frames(list(enumerate(frames)))

    def take_in(self) -> None:
        self.taken += WIRE.frames
        WIRE.frames.clear()

    def halt(self) -> None:
        self.take_in()
        self.halted = True

    def wait_hint(self) -> float | None:
        return 0.01

    def trouble(self) -> str:
        return "the wire is cut" if WIRE.is_cut else ""

    def stats(self) -> CaptureStats:
        return CaptureStats(received=self.given)


class EndsWithNone(Live):
    """``None`` after ``halt`` is an end as well."""

    ends_with = None


class GoesOn(Live):
    def halt(self) -> None:
        """Take no notice."""


class ThrowsAway(Live):
    def halt(self) -> None:
        super().halt()
        self.taken = []


class IsSilent(Live):
    def trouble(self) -> str:
        return ""


class LiveSuite(CapturerContract):
    def stir(self) -> None:
        WIRE.frames += FRAMES

    def broken_off(self) -> None:
        WIRE.is_cut = True

    def everything(self, capturer: Any) -> Any:
        """As the suite does it, with a part of the frames taken in at the end alone."""
        self.stir()
        found = self.read(capturer, len(FRAMES) // 2)
        return found + self.halt(capturer)


LIVE = {"config": {"path": "wire0"}, "missing": {"path": "wire9"}, "frames": len(FRAMES)}


@pytest.mark.parametrize("component", [Live, EndsWithNone])
def test_a_good_live_one_passes(component: type, tmp_path: Path) -> None:
    """What ``halt`` says of the end holds: ``None``, or an empty batch."""
    declared = Capturer(name="odd", factory=component, config=Config, live=True, summary="Odd")
    assert failing(LiveSuite, declared, tmp_path, **LIVE) == set()


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (GoesOn, "test_after_halt_nothing_new_comes"),
        (ThrowsAway, "test_every_frame_is_given_once_and_counted"),
        (IsSilent, "test_a_live_source_that_breaks_is_told"),
    ],
)
def test_each_rule_that_a_live_one_breaks_is_found(component: type, expected: str, tmp_path: Path) -> None:
    declared = Capturer(name="odd", factory=component, config=Config, live=True, summary="Odd")
    assert expected in failing(LiveSuite, declared, tmp_path, **LIVE)
