"""What capturers do when their source is damaged or breaks: tests to mix in."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otus_core.components import BaseCapturer, CaptureStats
from otus_core.errors import CaptureError
from otus_core.model.frames import FrameBatch

MUTATIONS = 300
PREFIXES = 200
DAMAGED_MAX_S = 20.0
"""For one damaged file: more than any needs, less than one that never ends."""
ERRORS_MAX = 1000
"""Faults of one source that a suite hears; a file that tells of more does not come to an end."""


class FaultsContract:
    """``broken`` is a configuration whose source breaks while it is read. Of a capturer of files ``file`` is the file
    that ``config`` names, so that it can be damaged.
    """

    config: Mapping[str, Any]
    declaration: Any
    broken: Mapping[str, Any] | None = None
    file: Path | None = None

    def make(self, data: Mapping[str, Any] | None = None) -> Any:
        """Construct and wire a new capturer."""
        raise NotImplementedError

    def leading_to(self, path: Path) -> dict[str, Any]:
        """Give ``config`` with another file in the place of ``file``, wherever that stands in it."""
        found: dict[str, Any] = _replace(self.config, str(self.file), str(path))
        assert found != self.config, f"config names no {self.file}: write leading_to()"
        return found

    def broken_off(self) -> None:
        """Break a live source that is open, as when its interface goes away."""
        pytest.skip("the test does not break its source")

    def read_over_faults(self, capturer: BaseCapturer) -> list[CaptureError]:
        """Read to the end, over all faults that are not fatal; gives the faults.

        Nothing but CaptureError is raised, and the end comes.
        """
        found: list[CaptureError] = []
        until = time.monotonic() + DAMAGED_MAX_S
        while time.monotonic() < until:
            batch, error = _read(capturer)
            if error is not None:
                assert error.reason.strip(), "a CaptureError says what is wrong"
                found.append(error)
                assert len(found) < ERRORS_MAX, f"{ERRORS_MAX} faults, and no end: {error}"
                if error.fatal:
                    return found
                continue
            assert batch is None or isinstance(batch, FrameBatch), f"read() gave {batch!r}"
            if batch is None or (self.declaration.live and not len(batch)):
                return found
            for frame in batch:
                assert type(frame.data) is bytes and len(frame.data) == frame.capture_len
        raise AssertionError(f"no end after {DAMAGED_MAX_S:g} s")

    def test_a_source_that_breaks_is_told(self) -> None:
        """CaptureError says what broke; totals can still be asked for, and everything is given back."""
        if self.broken is None:
            pytest.skip("the test has no source that breaks")
        capturer: BaseCapturer = self.make(self.broken)
        with closing(capturer):
            try:
                capturer.open(0, 1, ())
                faults = self.read_over_faults(capturer)
            except CaptureError as error:
                faults = [error]
            assert faults, "the source broke, and nothing was said"
            assert isinstance(capturer.stats(), CaptureStats)

    def test_a_live_source_that_breaks_is_told(self) -> None:
        """By ``trouble``, by asking for new descriptors, or by CaptureError; reading waits for nothing."""
        if not self.declaration.live:
            pytest.skip("it is not live")
        capturer: BaseCapturer = self.open_source()
        with closing(capturer):
            self.read_over_faults(capturer)
            self.broken_off()
            faults = self.read_over_faults(capturer)
            told = faults or capturer.trouble() or capturer.wants_descriptors()
            assert told, "the source broke, and nothing was said"

    def open_source(self) -> BaseCapturer:
        """Make and open a capturer."""
        raise NotImplementedError

    def test_a_damaged_file_does_no_harm(self, tmp_path: Path) -> None:
        """Files are hostile: cut anywhere, with any byte another, each comes to an end with CaptureError at most."""
        if self.file is None:
            pytest.skip("the test names no file")
        for n, data in enumerate(_damage(self.file.read_bytes())):
            path = tmp_path / f"damaged{self.file.suffix}"
            path.write_bytes(data)
            capturer: BaseCapturer = self.make(self.leading_to(path))
            with closing(capturer):
                try:
                    capturer.open(0, 1, ())
                    self.read_over_faults(capturer)
                except (CaptureError, OSError):
                    pass
                except Exception as error:
                    raise AssertionError(f"damage {n}: {type(error).__name__}: {error}") from error


def _read(capturer: BaseCapturer) -> tuple[Any, CaptureError | None]:
    try:
        return capturer.read(), None
    except CaptureError as error:
        return None, error


def _damage(data: bytes) -> Iterator[bytes]:
    """Give a file cut off, and with bytes changed; the same ones each time."""
    yield b""
    for length in range(1, len(data), max(1, len(data) // PREFIXES)):
        yield data[:length]
    chance = random.Random(1)
    for _ in range(MUTATIONS):
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            if changed:
                changed[chance.randrange(min(len(changed), 4096))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        yield bytes(changed)


def _replace(value: Any, old: str, new: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _replace(one, old, new) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace(one, old, new) for one in value]
    return new if value == old else value
