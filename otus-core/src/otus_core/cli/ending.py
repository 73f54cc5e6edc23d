"""How a run ended: what failed in it, and with which exit status it ends.

In: the summary, and what the run noticed on its way.
"""

from __future__ import annotations

from typing import Any

from otus_core.errors import CaptureError
from otus_core.values import define

# 128 and the signal's number, as shells say it: SIGINT is 2 (POSIX, XCU 2.8.2).
GOOD, FAILED, INTERRUPTED = 0, 1, 130


@define(eq=False)
class Result:
    """How a run ended, and its counters."""

    summary: dict[str, Any]
    faults: list[CaptureError]
    interrupted: bool = False
    error: str = ""
    stdout_ended: OSError | None = None
    """Why no more could be written to standard output."""


def status_of(result: Result, *, live: bool) -> int:
    """Give the exit status; Ctrl-C is how a ``live`` run is meant to end."""
    if result.interrupted and not live:
        return INTERRUPTED
    lost = any(_has_lost(terms["dropped"]) for terms in result.summary["reporters"].values())
    return FAILED if result.faults or lost or failures_of(result) else GOOD


def failures_of(result: Result) -> list[str]:
    """Say what failed, besides the faults of the source."""
    failures = (result.error, _full(result), _name_undelivered(result))
    return [one for one in (*failures, _whole_failure(result.summary), _name_cut_short(result.summary)) if one]


def _full(result: Result) -> str:
    """Say so when standard output took no more, as a file on a full disk; a pipe that nobody reads is no failure."""
    error = result.stdout_ended
    return "" if error is None or isinstance(error, BrokenPipeError) else f"standard output: {error.strerror}"


def _name_undelivered(result: Result) -> str:
    """Say so when reporters could not deliver in time what was left at the end of the source; else empty.

    What an interrupted run, or one that nobody reads any more, leaves behind is nobody's loss.
    """
    if result.interrupted or result.stdout_ended is not None:
        return ""
    reporters = result.summary["reporters"].items()
    left = {name: terms["dropped"].get("shutdown", 0) for name, terms in reporters}
    names = ", ".join(f"{name}: {n:,}" for name, n in left.items() if n)
    return f"some messages could not be delivered before the run ended ({names})" if names else ""


def _whole_failure(summary: dict[str, Any]) -> str:
    """Say so when something was to be reported and all of it failed in parsers or processors; else empty."""
    failed = {
        name: n for name, n in summary["dropped"].items() if name.startswith(("parse_error:", "processor_error:"))
    }
    ignored = any(n for name, n in summary["dropped"].items() if name.startswith(("ignored:", "filtered:")))
    taken = any(summary[what] for what in ("records", "consumed"))
    if summary["kept"] or ignored or taken or not failed:
        return ""
    names = ", ".join(f"{name.replace('_', ' ').replace(':', ' of ', 1)}: {n:,}" for name, n in failed.items())
    return f"everything failed, and nothing was reported ({names})"


def _name_cut_short(summary: dict[str, Any]) -> str:
    """Say so when a component could not tell all of what it was to tell by records; else empty."""
    names = ", ".join(name.replace(":", " ", 1) for name in summary.get("cut_short", ()))
    return f"records may be missing, because tick or finish of {names} failed" if names else ""


def _has_lost(dropped: dict[str, int]) -> bool:
    """Whether a reporter failed to deliver; ``_name_undelivered`` judges what was left at the end."""
    return any(n for name, n in dropped.items() if name != "shutdown")
