"""Replaying at the recorded pace: when frames are due, and that nobody is held up meanwhile."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from otus_pcap.capturer import PcapCapturer
from otus_pcap.config import PcapConfig
from otus_pcap.pace import Pace
from tests.pcap.files import pcap_header, pcap_record, read_files

SECOND = 10**9
START = 1_700_000_000 * SECOND


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("offsets", "speed", "due"),
    [
        pytest.param([0, 1, 2, 3], 1.0, {0: 1, 0.5: 1, 1: 2, 2.5: 3, 3: 4}, id="as recorded"),
        pytest.param([0, 1, 2, 3], 2.0, {0: 1, 0.5: 2, 1: 3, 1.5: 4}, id="twice as fast"),
        pytest.param([0, 1, 2], 0.5, {1: 1, 2: 2, 4: 3}, id="half as fast"),
        pytest.param([0, 2, 1.5, 3], 1.0, {0: 1, 2: 3, 3: 4}, id="out of order: due at once"),
        pytest.param(
            [0, 1, -500, -499], 1.0, {0: 1, 1: 3, 1.5: 3, 2: 4}, id="an older recording: the pace begins anew"
        ),
        pytest.param([0, 1, 9000, 9001], 1.0, {0: 1, 1: 3, 2: 4}, id="a gap of hours is not waited for"),
    ],
)
def test_when_frames_are_due(offsets: list[float], speed: float, due: dict[float, int]) -> None:
    clock = Clock()
    pace = Pace(speed, clock)
    times = [START + int(offset * SECOND) for offset in offsets]
    given = pace.due(times, 0, len(times))
    for at, expected in due.items():
        clock.now = 1000.0 + at
        given += pace.due(times, given, len(times))
        assert given == expected, at


def test_how_long_to_wait() -> None:
    clock = Clock()
    pace = Pace(2.0, clock)
    assert pace.due([START, START + SECOND], 0, 2) == 1
    assert pace.wait(START + SECOND) == pytest.approx(0.5)
    clock.now += 9
    assert pace.wait(START + SECOND) == 0


def test_a_recording_of_300_ms_takes_300_ms(tmp_path: Path) -> None:
    records = [pcap_record(bytes([n]), 1_700_000_000, n * 30_000) for n in range(11)]
    (tmp_path / "capture").write_bytes(pcap_header() + b"".join(records))
    capturer = PcapCapturer(PcapConfig(files=[str(tmp_path / "capture")], speed=1.0))
    capturer.open()
    began = time.monotonic()
    due, spent, frames = [], [], []
    while True:
        called = time.monotonic()
        batch = capturer.read()
        spent.append(time.monotonic() - called)
        if batch is None:
            break
        due += [time.monotonic() - began] * len(batch)
        frames += batch
        hint = capturer.wait_hint()
        assert hint is not None
        time.sleep(hint)
    assert [frame.data[0] for frame in frames] == list(range(11))
    assert all(when >= n * 0.03 - 0.001 for n, when in enumerate(due))
    assert statistics.median(spent) < 0.01  # it never waits; the machine may now and then


def test_speed_0_does_not_wait(tmp_path: Path) -> None:
    (tmp_path / "capture").write_bytes(pcap_header() + pcap_record(b"x", 1) + pcap_record(b"y", 2000))
    began = time.monotonic()
    assert len(read_files(tmp_path / "capture").frames) == 2
    assert time.monotonic() - began < 60


def test_a_pipe_is_not_polled_while_a_frame_waits_for_its_time(tmp_path: Path) -> None:
    (tmp_path / "capture").write_bytes(pcap_header() + pcap_record(b"x", 1) + pcap_record(b"y", 60))
    capturer = PcapCapturer(PcapConfig(files=[str(tmp_path / "capture")], speed=1.0))
    capturer.open()
    assert [len(capturer.read() or ()) for _ in range(3)] == [1, 0, 0]
    assert capturer.fileno() is None
    hint = capturer.wait_hint()
    assert hint is not None
    assert 58 < hint <= 59
    capturer.close()
