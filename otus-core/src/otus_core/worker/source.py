"""Calls a capturer, which is somebody else's code: whatever it does becomes frames, a ``CaptureError``, or a fault that
is counted, named and followed by a pause.

In: the capturer of one worker. Out: what it gives, checked. ``read``, ``open``, ``resume`` and ``reopen`` raise
CaptureError or TaskStartFailed; nothing else raises.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs

from otus_core.components import BaseCapturer, CaptureStats
from otus_core.errors import BpfInvalid, CaptureError, TaskStartFailed
from otus_core.model.accounts import Accounts
from otus_core.model.counter_names import name_of
from otus_core.model.frames import FrameBatch
from otus_core.model.text import tell
from otus_core.pipeline.circuit import pause_before, state_after
from otus_core.process.connections import Connection
from otus_core.worker.status import words

T = TypeVar("T")

PAUSE_FILE_S = (0.02, 0.5)
PAUSE_LIVE_S = (0.02, 5.0)
"""First and longest pause after reads that fail in a row."""
GIVE_UP_AFTER = 8
"""Reads of a file that fail in a row without a CaptureError, or with the same one: it ends. A live source goes on."""
FAULTS_IN_A_ROW = 100
"""Different CaptureErrors in a row without a frame between them, of a list of damaged files; after more there are
pauses too.
"""
SHOWN_AFTER = 3
"""Failures in a row after which the circuit is shown as open: one alone may be the weather."""
COUNT_MAX = 1 << 62
"""No real count comes near it, and the 64 bits that counters have are not full when those of several workers are added.
"""


class Source:
    """Stands between a worker and its capturer. ``mark`` names the capturer while it is being read, for whoever looks
    at the counters of a worker that hangs.
    """

    def __init__(
        self,
        name: str,
        capturer: BaseCapturer,
        accounts: Accounts,
        on_error: Callable[[str, str, BaseException], None],
        *,
        live: bool,
        mark: int,
    ) -> None:
        self.name = name
        self._capturer = capturer
        self._accounts = accounts
        self._on_error = on_error
        self._live = live
        self._mark = mark
        self._nothing = FrameBatch.from_frames(())
        self._stats = CaptureStats()
        self._failures = 0
        self._faults = 0
        self._last_fault = ""
        self._not_before = 0.0
        self._why = ""

    @property
    def rereads(self) -> bool:
        """See ``BaseCapturer``."""
        return self._live and bool(getattr(self._capturer, "rereads", False))

    @property
    def state(self) -> str:
        """``closed`` while it can be read, ``open`` while it is left alone after failures in a row, ``half_open`` when
        it is about to be tried again.
        """
        return state_after(self._failures, SHOWN_AFTER, self._not_before)

    def resume(self, taken: int, stats: CaptureStats) -> None:
        """See ``BaseCapturer``. Raises CaptureError, BpfInvalid and TaskStartFailed."""
        self._begin("resume", taken, stats)

    def open(self, shard: int, shards: int, fds: Sequence[int]) -> None:
        """See ``BaseCapturer``. Raises CaptureError, BpfInvalid and TaskStartFailed."""
        self._begin("open", shard, shards, fds)

    def _begin(self, step: str, *arguments: Any) -> None:
        try:
            getattr(self._capturer, step)(*arguments)
        except (CaptureError, BpfInvalid):  # these say what is wrong with the source, or with what was asked for
            raise
        except BaseException as error:
            raise TaskStartFailed(f"capturer {self.name} could not {step}: {tell(error)}") from error

    def read(self) -> FrameBatch | None:
        """Read once: an empty batch also while the capturer is left alone after a failure. Raises CaptureError."""
        if self._failures and time.monotonic() < self._not_before:
            return self._nothing
        self._accounts.set("running", self._mark)
        try:
            batch = self._capturer.read()
        except CaptureError as error:
            return self._again(error)
        except BaseException as error:
            return self._note_failure(error)
        finally:
            self._accounts.set("running", 0)
        if type(batch) is FrameBatch:  # the loop reads its C fields
            if self._failures or self._faults:
                self._failures, self._faults, self._last_fault, self._why = 0, 0, "", ""
            return batch
        if batch is None:
            return None
        return self._note_failure(TypeError(f"read() gave {type(batch).__name__}, not a FrameBatch or None"))

    def _again(self, error: CaptureError) -> FrameBatch:
        """Tell of a fault of the source; the same one again, or very many, are a failure of the capturer."""
        text, self._faults = words(error), self._faults + 1
        if not error.fatal and (text == self._last_fault or self._faults > FAULTS_IN_A_ROW):
            return self._note_failure(error)
        self._last_fault = text
        raise error

    def _note_failure(self, error: BaseException) -> FrameBatch:
        self._tell(error)
        self._why = words(tell(error))
        self._failures += 1
        if not self._live and self._failures >= GIVE_UP_AFTER and self._faults <= FAULTS_IN_A_ROW:
            reason = f"gave up after {self._failures} failures in a row: {self._why}"
            raise CaptureError(f"capturer {self.name}", reason, fatal=True) from error
        pause = pause_before(self._failures - 1, PAUSE_LIVE_S if self._live else PAUSE_FILE_S)
        self._not_before = time.monotonic() + pause
        return self._nothing

    def _tell(self, error: BaseException) -> None:
        self._accounts.add(name_of("errors", "capturer", self.name))
        self._on_error("capturer", self.name, error)

    def _ask(self, method: str, otherwise: T, check: Callable[[Any], T], *arguments: Any) -> T:
        """Call a method that asks something; what it raises, or gives wrongly, is told and counted."""
        try:
            return check(getattr(self._capturer, method)(*arguments))
        except BaseException as error:
            # Told as what it is to the plugin's author: a value of the wrong type, not a class of ours.
            if isinstance(error, _Wrong):
                error = TypeError(f"{method}() gave {error}")
            self._tell(error)
            return otherwise

    def fileno(self) -> int | None:
        """See ``BaseCapturer``."""
        return self._ask("fileno", None, _descriptor)

    def wait_hint(self) -> float | None:
        """See ``BaseCapturer``."""
        return self._ask("wait_hint", None, _seconds)

    def progress(self) -> float | None:
        """See ``BaseCapturer``; between 0 and 1."""
        return self._ask("progress", None, _share)

    def wants_descriptors(self) -> bool:
        """See ``BaseCapturer``."""
        return self._ask("wants_descriptors", False, bool)

    def trouble(self) -> str:
        """Say why nothing comes in: what the capturer says, or that reading it fails again and again."""
        if self._failures >= SHOWN_AFTER:
            return f"capturer {self.name} fails: {self._why}"
        return self._ask("trouble", "", lambda given: words(given or ""))

    def stats(self) -> CaptureStats:
        """See ``BaseCapturer``; what it said last where it cannot say."""
        self._stats = self._ask("stats", self._stats, _totals)
        return self._stats

    def reopen(self, fds: Sequence[int]) -> None:
        """See ``BaseCapturer``. Raises CaptureError."""
        try:
            self._capturer.reopen(fds)
        except CaptureError:
            raise
        except BaseException as error:
            self._tell(error)
            raise CaptureError(f"capturer {self.name}", f"could not reopen: {tell(error)}", fatal=False) from error

    def exclude(self, connections: Sequence[Connection]) -> None:
        """See ``BaseCapturer``."""
        self._ask("exclude", None, _nothing, connections)

    def halt(self) -> None:
        """See ``BaseCapturer``."""
        self._ask("halt", None, _nothing)

    def close(self) -> None:
        """See ``BaseCapturer``."""
        self._ask("close", None, _nothing)


class _Wrong(Exception):
    """What a method gave that it must not give."""


def _nothing(_given: object) -> None:
    return None


def _descriptor(given: Any) -> int | None:
    if given is None:
        return None
    if type(given) is not int:
        raise _Wrong(type(given).__name__)
    os.fstat(given)  # a closed one would be watched in vain
    return given


def _seconds(given: Any) -> float | None:
    if given is None:
        return None
    if not isinstance(given, (int, float)) or not math.isfinite(given):
        raise _Wrong(words(repr(given)))
    return max(float(given), 0.0)


def _share(given: Any) -> float | None:
    seconds = _seconds(given)
    return None if seconds is None else min(seconds, 1.0)


def _totals(given: Any) -> CaptureStats:
    if not isinstance(given, CaptureStats):
        raise _Wrong(f"{type(given).__name__}, not CaptureStats")
    for number in attrs.astuple(given):
        # type(): to isinstance() True is a number as well.
        if type(number) is not int or not 0 <= number < COUNT_MAX:
            raise _Wrong(f"totals of which one is {words(repr(number))}")
    return given
