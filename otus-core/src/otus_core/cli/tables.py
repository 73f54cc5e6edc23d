"""What the control plane answers, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otus_core.model.text import printable


def status_text(result: dict[str, Any]) -> str:
    """Render ``daemon_status``."""
    lines = [f"otus {result['version']}, up {_duration(result['uptime_sec'])}, {result['task_count']} tasks"]
    lines += [f"  {task_id}  {state}" for task_id, state in result["tasks"].items()]
    failed = [p for p in result["plugins"] if p["state"] == "failed"]
    lines.append(f"plugins: {len(result['plugins'])} components, {len(failed)} failed")
    lines += [f"  {p['name']} ({p['distribution']} {p['version']}): {p['stage']}: {p['reason']}" for p in failed]
    for channel in result["command_channels"]:
        lines.append("command channel: " + ", ".join(f"{key} {value}" for key, value in channel.items()))
    return printable_lines(lines)


def stats_text(result: dict[str, Any]) -> str:
    """Render ``daemon_stats`` as a table, a line a task."""
    head = ("TASK", "STATE", "FRAMES/S", "MSG/S", "FRAMES", "KEPT", "KERNEL DROP", "LOST", "QUEUED", "UNACC")
    rows = [_stats_row(task_id, stats) for task_id, stats in result["tasks"].items()]
    return printable_lines(table(head, rows)) if rows else "no tasks"


def task_text(result: dict[str, Any]) -> str:
    """Render one task of ``task_status``."""
    lines = [f"{key:<16} {result[key]}" for key in _TASK_KEYS if result.get(key) not in (None, "")]
    if "counters" in result:
        lines += ["", *_counter_lines(result["counters"])]
    for worker in result.get("workers", ()):
        reason = f" ({worker['reason']})" if worker["reason"] else ""
        lines.append(
            f"worker {worker['worker']}: {worker['state']}{reason}, pid {worker['pid']}, {worker['restarts']} restarts"
        )
    return printable_lines(lines)


def tasks_text(result: dict[str, Any]) -> str:
    """Render ``task_status`` of all tasks."""
    rows = [
        (
            t["task_id"],
            t["state"] + (" degraded" if t.get("degraded") else ""),
            t["started_at"] or "-",
            str(t["restart_count"]),
            t["reason"],
        )
        for t in [*result["tasks"], *result["ended"]]
    ]
    return printable_lines(table(("TASK", "STATE", "STARTED", "RESTARTS", "REASON"), rows)) if rows else "no tasks"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align rows in columns."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]


def printable_lines(lines: list[str]) -> str:
    """Join lines, each safe for a terminal."""
    return "\n".join(printable(line) for line in lines)


_TASK_KEYS = (
    "task_id",
    "state",
    "degraded",
    "waiting_for",
    "created_at",
    "started_at",
    "ended_at",
    "restart_count",
    "worker_restarts",
    "supervisor_errors",
    "reason",
    "next_try_at",
)


def _stats_row(task_id: str, stats: dict[str, Any]) -> tuple[str, ...]:
    counters = stats.get("counters", {})
    reporters = counters.get("reporters", {}).values()
    lost = sum(sum(terms["dropped"].values()) for terms in reporters)
    queued = sum(terms["queued"] + terms["in_flight"] for terms in reporters)
    numbers = (
        stats["rates"]["frames_per_sec"],
        stats["rates"]["messages_per_sec"],
        counters.get("frames_read", 0),
        counters.get("kept", 0),
        counters.get("kernel_drop", 0),
        lost,
        queued,
        counters.get("unaccounted", 0),
    )
    state = stats["state"] + (" degraded" if stats.get("degraded") else "")
    return (task_id, state, *(f"{number:,.0f}" for number in numbers))


def _counter_lines(counters: dict[str, Any]) -> list[str]:
    """Give every counter that is not zero, nested ones with their reason."""
    lines = []
    for name, value in counters.items():
        if isinstance(value, int):
            lines.append(f"{name:<34} {value:>14,}")
        elif name == "dropped":
            lines += [f"dropped {reason:<26} {n:>14,}" for reason, n in value.items()]
        elif name == "reporters":
            for reporter, terms in value.items():
                flat = {
                    **{k: v for k, v in terms.items() if k != "dropped"},
                    **{f"dropped {k}": v for k, v in terms["dropped"].items()},
                }
                lines += [
                    f"{reporter} {term:<{33 - len(reporter)}} {n:>14,}"
                    for term, n in flat.items()
                    if n or term == "reported"
                ]
    return lines


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    shown = [f"{n} {unit}" for n, unit in parts if n]
    return " ".join(shown[:2]) or "0 s"
