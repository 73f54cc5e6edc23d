"""What a person sees on standard error: a line while a run goes on, and the summary at its end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from otus_core.cli.hidden import hidden_lines
from otus_core.model.counter_names import begin_of, term_of
from otus_core.pipeline.counters import CRASHED, OVERFLOW
from otus_core.task.spec import TaskConfig

FIRST_AFTER_S = 1.0
"""A short run ends before: its line would only flicker."""
EVERY_S = 0.25
"""Four times a second looks steady, and costs next to nothing."""
BAR_WIDTH = 30
"""Columns; rate, messages and drops stand behind it."""


class Progress:
    """A status line on a terminal: a bar for files that take more than a second, rate, messages and drops for a live
    source.
    """

    def __init__(
        self,
        config: TaskConfig,
        quiet: bool,
        counters: Callable[[], dict[str, int]],
        progress: Callable[[], float | None],
    ) -> None:
        self._live = config.capture.declaration.live
        # In a file or a journal, a line that is drawn again and again is noise.
        self._shown = not quiet and sys.stderr.isatty()
        self._counters = counters
        self._progress = progress
        self._task: asyncio.Task[None] | None = None
        self._drawn = False

    def __enter__(self) -> Progress:
        if self._shown:
            self._task = asyncio.create_task(self._run())
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            self.clear()

    def clear(self) -> None:
        """Take the line away, so that something else can be written to the same terminal."""
        if self._drawn:
            self._drawn = False
            sys.stderr.write("\r\x1b[K")  # EL: erase to the end of the line (ECMA-48 §8.3.41)
            sys.stderr.flush()

    async def _run(self) -> None:
        await asyncio.sleep(FIRST_AFTER_S)
        last_read, last_at = self._counters()["frames_read"], time.monotonic()
        while True:
            await asyncio.sleep(EVERY_S)
            counters, now = self._counters(), time.monotonic()
            rate = (counters["frames_read"] - last_read) / (now - last_at)
            last_read, last_at = counters["frames_read"], now
            self._drawn = True
            sys.stderr.write("\r\x1b[K" + self._line(counters, rate))
            sys.stderr.flush()

    def _line(self, counters: dict[str, int], rate: float) -> str:
        text = f"{rate:,.0f} frames/s  {counters['kept']:,} messages  {_count_lost(counters):,} dropped"
        if self._live:
            return text
        done = self._progress()
        if done is None:
            return text
        filled = int(BAR_WIDTH * min(max(done, 0.0), 1.0))
        return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {100 * done:3.0f} %  {text}"


def _count_lost(counters: dict[str, int]) -> int:
    """What should have been reported and was not, the kernel's drops included."""
    lost = (OVERFLOW, CRASHED, begin_of("dropped", "report_error"))
    of_reporters = ((term_of(name), n) for name, n in counters.items() if name != term_of(name))
    return counters["kernel_drop"] + sum(n for term, n in of_reporters if term.startswith(lost))


def summary_text(summary: dict[str, Any]) -> str:
    """Give the summary as a few aligned lines, and below them what was not looked into; what is zero is left out."""
    rows = [("frames read", summary["frames_read"])]
    rows += [(name, summary[key]) for name, key in _KERNEL if summary.get(key)]
    rows += [(name, summary[key]) for name, key in _MIDDLE if summary[key]]
    rows += [(f"dropped {reason}", n) for reason, n in summary["dropped"].items()]
    rows += [(f"{name.partition(':')[2]}: taken in", n) for name, n in summary["consumed"].items()]
    rows += [(f"{name.partition(':')[2]}: records", n) for name, n in summary["records"].items()]
    rows += [("matched", summary["matched"]), ("kept", summary["kept"])]
    rows += [
        (f"parse errors of {name.replace(':', ': ', 1)}", n) for name, n in summary.get("parse_errors", {}).items()
    ]
    rows += [(f"faults of {name.replace(':', ' ', 1)}", n) for name, n in summary.get("errors", {}).items()]
    rows += [
        (f"{name.replace(':', ' ', 1)}: tick or finish failed", n) for name, n in summary.get("cut_short", {}).items()
    ]
    counted = summary.get("counted", {}).items()
    rows += [(_counter(name), n) for name, n in counted if ":seen_" not in name]  # statistics, no account
    for reporter, terms in summary["reporters"].items():
        rows.append((f"{reporter}: reported", terms["reported"]))
        rows += [(f"{reporter}: dropped {reason}", n) for reason, n in terms["dropped"].items()]
        if terms["moved_to_fallback"]:
            rows.append((f"{reporter}: to fallback", terms["moved_to_fallback"]))
    if "flows_evicted" in summary:
        rows.append(("flows evicted (max_flows)", summary["flows_evicted"]))
    if "published_lost" in summary:
        rows.append(("not told to other workers", summary["published_lost"]))
    if summary["unaccounted"]:
        rows.append(("UNACCOUNTED (a bug)", summary["unaccounted"]))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {n:>12,}" for name, n in rows]
    lines.append(f"{'seconds':<{width}}  {summary['elapsed_s']:>12.3f}  ({summary['cpu_s']:.3f} CPU)")
    return "\n".join([*lines, *hidden_lines(summary["not_looked_into"])]) + "\n"


def _counter(name: str) -> str:
    """Say which component counts what: ``parser sip: malformed``."""
    kind, component, counter = name.split(":", 2)
    return f"{kind} {component}: {counter}"


_KERNEL = (
    ("kernel received", "kernel_rx"),
    ("kernel dropped", "kernel_drop"),
    ("interface dropped", "interface_drop"),
    ("Otus's own, left out", "excluded_own"),
    ("left in the ring", "in_ring"),
)
_MIDDLE = (
    ("messages added", "messages_added"),
    ("fragments merged", "fragments_merged"),
    ("fragments held", "fragments_held"),
    ("segments merged", "segments_merged"),
    ("segments held", "segments_held"),
    ("units", "units"),
)
