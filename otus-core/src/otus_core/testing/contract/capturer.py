"""The contract of capturers."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import pytest

from otus_core.components import BaseCapturer, CaptureStats
from otus_core.decode.shard import Shard
from otus_core.errors import CaptureError
from otus_core.model.frames import FrameBatch, RawPacket
from otus_core.testing.contract.capturer_faults import FaultsContract
from otus_core.testing.contract.component import Contract

WITHIN_S = 60.0
READ_MAX_S = 2.0
"""``read`` gives an empty batch when nothing is ready; it does not wait for frames."""
TRIES = 3
"""A machine that stands still makes one read slow; a capturer that waits makes each slow that finds nothing."""


class CapturerContract(Contract, FaultsContract):
    """What a capturer must do.

    ``config`` leads it to a source of ``frames`` frames; ``missing`` is a configuration whose source is not there. For
    a live capturer ``stir`` makes the frames come; one that needs privilege is given what its own ``acquire`` opens.
    What happens when a source is damaged or breaks is tried with ``broken``, ``file`` and ``broken_off``.
    """

    kind = "capturer"
    frames: int
    missing: Mapping[str, Any]

    def stir(self) -> None:
        """Make ``frames`` frames come to a live source that is open."""

    def acquire(self, shard: int, shards: int, state: dict[str, Any]) -> list[int]:
        """Open what needs privilege, as the opener does."""
        if not self.declaration.privileged:
            return []
        factory: Any = self.declaration.load_factory()
        opened: list[int] = factory.acquire(self.settings(), shard, shards, state)
        return opened

    def open_source(self, shard: int = 0, shards: int = 1, state: dict[str, Any] | None = None) -> BaseCapturer:
        """Make and open a capturer, or a worker's share of it."""
        capturer: BaseCapturer = self.make()
        capturer.open(shard, shards, self.acquire(shard, shards, {} if state is None else state))
        return capturer

    def read(self, capturer: BaseCapturer, count: int | None = None) -> list[RawPacket]:
        """Read until there are ``count`` frames, or to the end."""
        found: list[RawPacket] = []
        until = time.monotonic() + WITHIN_S
        while count is None or len(found) < count:
            batch = self.batch(capturer)
            if batch is None:
                break
            found += list(batch)
            assert time.monotonic() < until, f"{len(found)} frames after {WITHIN_S:.0f} s, and no end"
        return found

    def batch(self, capturer: BaseCapturer) -> FrameBatch | None:
        """Read once, as a worker does."""
        hint = capturer.wait_hint()
        assert hint is None or hint >= 0, f"wait_hint() gave {hint!r}"
        for _ in range(TRIES):
            begun = time.monotonic()
            batch = capturer.read()
            assert batch is None or isinstance(batch, FrameBatch), f"read() gave {batch!r}"
            if time.monotonic() - begun < READ_MAX_S or batch is None or len(batch):
                return batch
        raise AssertionError("read() waits; it must give an empty batch")

    def everything(self, capturer: BaseCapturer) -> list[RawPacket]:
        """Read all frames: a live source is stirred, and then halted."""
        if not self.declaration.live:
            return self.read(capturer)
        self.stir()
        found = self.read(capturer, self.frames)
        return found + self.halt(capturer)

    def halt(self, capturer: BaseCapturer) -> list[RawPacket]:
        """Halt a live capturer, and read what it had taken in."""
        capturer.halt()
        return self.drain(capturer)

    def drain(self, capturer: BaseCapturer) -> list[RawPacket]:
        """Read what is left after ``halt``: until ``None`` or an empty batch, as a worker does."""
        found: list[RawPacket] = []
        until = time.monotonic() + WITHIN_S
        while (batch := self.batch(capturer)) is not None and len(batch):
            found += list(batch)
            assert time.monotonic() < until, f"{len(found)} frames after halt(), and no end"
        return found

    def test_every_frame_is_given_once_and_counted(self) -> None:
        """What ``read`` gives is sound, and ``stats`` counts it."""
        with closing(self.open_source()) as capturer:
            found = self.everything(capturer)
            stats = capturer.stats()
        assert len(found) == self.frames
        for frame in found:
            assert type(frame.data) is bytes
            assert 0 < frame.capture_len == len(frame.data) <= frame.orig_len
            assert frame.timestamp >= 0
        assert isinstance(stats, CaptureStats)
        assert stats.received - stats.dropped == len(found)

    def test_the_same_source_gives_the_same_frames(self) -> None:
        """A capturer holds nothing over from another."""
        with closing(self.open_source()) as one:
            first = [frame.data for frame in self.everything(one)]
        with closing(self.open_source()) as other:
            assert [frame.data for frame in self.everything(other)] == first

    def test_after_the_end_comes_nothing(self) -> None:
        """``None`` is the end, and stays so."""
        with closing(self.open_source()) as capturer:
            self.everything(capturer)
            if not self.declaration.live:
                assert [capturer.read() for _ in range(3)] == [None] * 3
            assert capturer.progress() in (None, 1.0)

    def test_after_halt_nothing_new_comes(self) -> None:
        """``halt`` takes in nothing more; what comes after it is never given."""
        if not self.declaration.live:
            pytest.skip("it is not live")
        with closing(self.open_source()) as capturer:
            self.halt(capturer)
            self.stir()
            assert self.drain(capturer) == [], "frames that came after halt() are given"

    def test_workers_share_a_source(self) -> None:
        """Where it can be shared, each frame goes to one of two; those of a file as ``otus_core.Shard`` says."""
        if not self.declaration.shardable:
            pytest.skip("it cannot be shared")
        state: dict[str, Any] = {}
        with closing(self.open_source(0, 2, state)) as one, closing(self.open_source(1, 2, state)) as other:
            if not self.declaration.live:
                for n, capturer in enumerate((one, other)):
                    self.check_share(Shard(n, 2), self.read(capturer))
                return
            self.stir()
            shares: list[RawPacket] = []
            until = time.monotonic() + WITHIN_S
            while len(shares) < self.frames and time.monotonic() < until:
                shares += [frame for capturer in (one, other) for frame in self.batch(capturer) or ()]
            for capturer in (one, other):
                shares += self.halt(capturer)
            assert len(shares) == self.frames

    def check_share(self, shard: Shard, given: list[RawPacket]) -> None:
        """A file's frames are shared as the core shares them, so that both directions of a conversation, and fragments,
        meet in one worker.
        """
        with closing(self.open_source()) as alone:
            frames = self.read(alone)
        assert len(frames) == self.frames
        due = [frame.data for frame in frames if shard.owns(frame.data, frame.link_type, frame.orig_len)]
        assert [frame.data for frame in given] == due, (
            f"these are not the frames of shard {shard.shard} of {shard.shards}"
        )

    def test_what_is_to_be_waited_for_can_be(self) -> None:
        """``fileno`` is ``None`` or an open descriptor, ``trouble`` a text, ``progress`` a share."""
        with closing(self.open_source()) as capturer:
            descriptor = capturer.fileno()
            assert descriptor is None or os.fstat(descriptor).st_ino  # an epoll has no type
            assert not self.declaration.live or descriptor is not None or capturer.wait_hint() is not None
            assert capturer.trouble() == ""
            progress = capturer.progress()
            assert progress is None or 0 <= progress <= 1
            assert capturer.wants_descriptors() is False

    def test_closing_gives_everything_back(self) -> None:
        """No descriptor is left; one that never read can be closed too."""
        self.open_source().close()
        before = _descriptors()
        capturer = self.open_source()
        self.batch(capturer)
        capturer.close()
        assert _descriptors() == before

    def test_a_source_that_is_not_there_is_named(self) -> None:
        """CaptureError says which source, in ``acquire``, ``open`` or ``read``; ``close`` is called all the same."""
        capturer: BaseCapturer = self.make(self.missing)
        try:
            with pytest.raises((CaptureError, OSError)) as caught:
                self._begin(capturer)
        finally:
            capturer.close()
        told = str(caught.value)
        assert any(word in told for word in _texts(self.missing)), f"{told!r} does not name the source"

    def _begin(self, capturer: BaseCapturer) -> None:
        descriptors: Sequence[int] = ()
        if self.declaration.privileged:
            factory: Any = self.declaration.load_factory()
            descriptors = factory.acquire(self.settings(self.missing), 0, 1, {})
        capturer.open(0, 1, descriptors)
        self.read(capturer)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _texts(value: Any) -> list[str]:
    """Give every text of a configuration."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]
