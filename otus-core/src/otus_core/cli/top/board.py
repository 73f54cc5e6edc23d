"""What ``otus top`` shows, as rows and lines: made of two answers of ``daemon_stats`` and of a sample of messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from otus_core.model.table import Column
from otus_core.model.text import printable
from otus_core.values import define, frozen

COLUMNS = (
    Column("task", least=8),
    Column("state", least=7),
    Column("workers", right=True, leaves=3),
    Column("frames/s", right=True),
    Column("msg/s", right=True),
    Column("dropped/s", right=True, leaves=6),
    Column("lost/s", right=True, leaves=7),
    Column("queued", right=True, leaves=5),
    Column("calls/s", right=True, leaves=4),
    Column("trouble", least=10, leaves=1),
)
SORTS = ("task", "frames/s", "msg/s", "dropped/s", "lost/s", "queued", "calls/s")
TELL_MAX = 200
"""Characters of a cell and a line, before they are fitted to the screen."""
RANKED = 6
"""Names on a line, which is about as wide as a screen."""
SOURCES_MAX = 2_000
"""Addresses and codes of a sample that are counted; packets choose them."""


@frozen
class Row:
    """One task: its cells, and the numbers that it is sorted by."""

    task_id: str
    cells: tuple[str, ...]
    numbers: Mapping[str, float | str]


@define(eq=False)
class Board:
    """Remembers the answer before the last, so that all counters are rates too."""

    _now: Mapping[str, Any] = attrs.field(factory=dict)
    _before: Mapping[str, Any] = attrs.field(factory=dict)

    def take(self, stats: Mapping[str, Any]) -> None:
        """Take an answer of ``daemon_stats``."""
        self._before, self._now = self._now, stats

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks as they are now."""
        found: Mapping[str, Any] = self._now.get("tasks", {})
        return found

    def head(self) -> str:
        """Say how the node is."""
        frames = sum(task["rates"]["frames_per_sec"] for task in self.tasks.values())
        messages = sum(task["rates"]["messages_per_sec"] for task in self.tasks.values())
        troubled = sum(bool(task["troubles"]) for task in self.tasks.values())
        parts = [f"{len(self.tasks)} tasks", f"{frames:,.0f} frames/s", f"{messages:,.0f} messages/s"]
        return "  ".join([*parts, f"{troubled} in trouble"] if troubled else parts)

    def rows(self, sort: str, *, turned: bool) -> list[Row]:
        """Give a row a task; numbers are sorted with the largest first."""
        rows = [self._row(task_id, task) for task_id, task in self.tasks.items()]
        return sorted(rows, key=lambda row: (row.numbers[sort], row.task_id), reverse=(sort != "task") != turned)

    def _row(self, task_id: str, task: Mapping[str, Any]) -> Row:
        counters = task.get("counters", {})
        workers = task.get("workers", ())
        running = sum(worker["state"] == "running" for worker in workers)
        numbers: dict[str, float | str] = {
            "task": task_id,
            "frames/s": task["rates"]["frames_per_sec"],
            "msg/s": task["rates"]["messages_per_sec"],
            "dropped/s": self._rate(task_id, count_lost_before_reporters),
            "lost/s": self._rate(task_id, count_lost_by_reporters),
            "queued": count_queued(counters),
            "calls/s": self._rate(task_id, lambda one: add_up_counted(one).get("attempts", 0)),
        }
        state = task["state"] + (" degraded" if task["degraded"] and task["state"] != "failed" else "")
        figures = [f"{numbers[column.name]:,.0f}" for column in COLUMNS[3:9]]
        trouble = next(iter(task["troubles"]), "")
        cells = (task_id, state, f"{running}/{len(workers)}", *figures, trouble)
        return Row(task_id, tuple(printable(cell, TELL_MAX) for cell in cells), numbers)

    def _rate(self, task_id: str, of: Any) -> float:
        """Give how fast a number of a task grows, a second; 0 where it is not known, or was begun anew."""
        took = self._now.get("uptime_sec", 0) - self._before.get("uptime_sec", 0)
        before = self._before.get("tasks", {}).get(task_id, {}).get("counters")
        now = self.tasks.get(task_id, {}).get("counters")
        if before is None or now is None or took <= 0:
            return 0.0
        return float(max(0, of(now) - of(before)) / took)

    def busiest(self, task_id: str) -> list[str]:
        """Rank what a task's components count of what comes by, and what became of calls: a line each."""
        task = self.tasks.get(task_id, {}).get("counters", {})
        groups: dict[str, dict[str, float]] = {"methods": {}, "responses": {}, "calls": {}, "registrations": {}}
        for name in add_up_counted(task):
            rate = self._rate(task_id, lambda one, name=name: add_up_counted(one).get(name, 0))
            kind, _, what = name.partition("_")
            if kind == "seen":
                is_class = what.endswith("xx")
                groups["responses" if is_class else "methods"][what if is_class else what.upper()] = rate
            elif kind in groups and what:
                groups[kind][what.replace("_", " ")] = rate
        return [f"{name:<14}{rank(rates)}" for name, rates in groups.items() if rank(rates)]

    def workers(self, task_id: str) -> list[str]:
        """Tell of a task's workers, a line each."""
        lines = []
        for worker in self.tasks.get(task_id, {}).get("workers", ()):
            counters = worker["counters"]
            parts = [
                f"worker {worker['worker']}",
                worker["state"],
                f"pid {worker['pid']}" if worker["pid"] else "",
                f"{counters.get('frames_read', 0):,} frames",
                f"{counters.get('kept', 0):,} kept",
                f"{count_queued(counters):,} queued",
                f"{worker['restarts']} restarts" if worker["restarts"] else "",
                worker["reason"],
            ]
            lines.append(printable("  ".join(part for part in parts if part), TELL_MAX))
        return lines


def add_up_counted(counters: Mapping[str, Any]) -> dict[str, int]:
    """Give what components count, by the counters' names alone; equal ones of several components are added."""
    found: Counter[str] = Counter()
    for name, n in counters.get("counted", {}).items():
        found[name.rpartition(":")[2]] += n
    return found


def count_lost_before_reporters(counters: Mapping[str, Any]) -> int:
    """Give frames that the kernel lost, and packets that were dropped here."""
    return int(counters.get("kernel_drop", 0) + sum(counters.get("dropped", {}).values()))


def count_lost_by_reporters(counters: Mapping[str, Any]) -> int:
    """Give the messages that reporters lost."""
    return sum(int(sum(terms["dropped"].values())) for terms in counters.get("reporters", {}).values())


def count_queued(counters: Mapping[str, Any]) -> int:
    """Give the messages that wait for reporters."""
    return sum(int(terms["queued"] + terms["in_flight"]) for terms in counters.get("reporters", {}).values())


def rank(rates: Mapping[str, float], most: int = RANKED) -> str:
    """Give the largest of some numbers with their names, largest first; what is 0 is left out."""
    top = sorted(((n, name) for name, n in rates.items() if n > 0), key=lambda one: (-one[0], one[1]))[:most]
    return "  ".join(f"{name} {n:,.1f}/s" for n, name in top)


class Sampled:
    """Counts who sends, and which codes are answered, in a sample of a task's messages."""

    def __init__(self) -> None:
        self._sources: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._messages = 0

    def take(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Take messages as lines of JSON have them."""
        for one in messages:
            self._messages += 1
            self._count(self._sources, one.get("src_ip"))
            self._count(self._codes, one.get("labels", {}).get("sip.status_code"))

    def _count(self, counts: Counter[str], name: Any) -> None:
        if isinstance(name, str) and (name in counts or len(counts) < SOURCES_MAX):
            counts[name] += 1

    def lines(self) -> list[str]:
        """Rank both, as shares of the sample."""
        return [_shares("sources", self._sources), _shares("codes", self._codes)] if self._messages else []


def _shares(name: str, counts: Counter[str]) -> str:
    total = max(1, sum(counts.values()))
    parts = [f"{printable(one, 60)} {100 * n / total:.0f} %" for one, n in counts.most_common(RANKED)]
    return f"{name:<14}{'  '.join(parts)}"
