"""Calls a reporter, which is somebody else's code: whatever it does becomes the fates of its batch.

In: a batch. Out: ``Fates``; nothing is raised but StdoutClosed, and what cancels the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otus_core.chores import raise_cancellation
from otus_core.components import BaseReporter
from otus_core.errors import StdoutClosed
from otus_core.model.accounts import Accounts
from otus_core.model.counter_names import of_reporter
from otus_core.model.output import OutputPacket
from otus_core.pipeline.fates import Fates, retry_all, sort_out
from otus_core.pipeline.steps import run_timed

BLOCKED_WARN_NS = 50_000_000
"""A reporter that keeps the thread for longer than this in one step is named in the log."""


class Guard:
    """Stands between delivery and one reporter.

    A call takes ``limit`` seconds at most, unless it does not heed cancellation. ``mark`` names the reporter, while one
    of its steps runs, for whoever looks when the thread does not come back. ``waited`` gives how long (ns) this process
    has waited for whoever reads its standard output: that is no reporter's doing.
    """

    def __init__(
        self,
        name: str,
        reporter: BaseReporter,
        limit: float | None,
        accounts: Accounts,
        on_error: Callable[[str, str, BaseException], None],
        mark: int,
        waited: Callable[[], int],
    ) -> None:
        self._name = name
        self._blocked_ns = of_reporter(name, "blocked_ns")
        self._reporter = reporter
        self._limit = limit
        self._accounts = accounts
        self._on_error = on_error
        self._mark = mark
        self._waited = waited
        self._waited_before = 0

    async def ask(self, batch: Sequence[OutputPacket]) -> Fates:
        """Call ``report`` once."""
        size = len(batch)
        try:
            # A copy: a reporter may keep or change its list, and the batch is what the counters go by.
            result = await run_timed(self._reporter.report(list(batch)), self._limit, self._begin, self._note_time)
        except StdoutClosed:
            raise
        except TimeoutError as error:
            return self._again(size, "ambiguous", error)
        except OSError as error:
            return self._again(size, "exception", error, waits=True)
        except BaseException as error:
            raise_cancellation(error)
            return self._again(size, "exception", error)
        return sort_out(result, size)

    async def flush(self) -> None:
        """Call ``flush``; what it raises is told."""
        try:
            await run_timed(self._reporter.flush(), None, self._begin, self._note_time)
        except BaseException as error:
            raise_cancellation(error)
            self._on_error("reporter", self._name, error)

    def _again(self, size: int, reason: str, error: BaseException, *, waits: bool = False) -> Fates:
        self._on_error("reporter", self._name, error)
        return retry_all(size, reason, waits=waits)

    def _begin(self) -> None:
        self._accounts.set("running", self._mark)
        self._waited_before = self._waited()

    def _note_time(self, ns: int) -> None:
        self._accounts.set("running", 0)
        ns -= self._waited() - self._waited_before
        self._accounts.add(self._blocked_ns, ns)
        if ns > BLOCKED_WARN_NS:
            error = RuntimeError(f"held the thread for {ns // 1_000_000} ms in one step")
            self._on_error("reporter", self._name, error)
