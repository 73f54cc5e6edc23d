"""What the control plane answers, for people.

Words of components come from plugins, and what they say may come from afar: each line is made safe for a terminal and
cut to a bounded width here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from otus_core.cli.hidden import hidden_lines
from otus_core.cli.wording import count, say, show
from otus_core.model.table import Column, table_lines
from otus_core.model.text import say_duration

CELL_MAX = 80
"""Columns of a table's cell: a reason of several sentences is told in full by ``otus task status ID``."""
LINE_MAX = 240
"""Columns of a line where no terminal says how many it has: words of components may be of any length."""


def status_text(result: Mapping[str, Any]) -> str:
    """Render ``daemon_status``: what there is, then what is down, then what is worth a warning."""
    lines = [alive_text(result)]
    troubles = result.get("troubles", ())
    if result["tasks"]:
        troubled = {trouble.get("task") for trouble in troubles}
        rows = [
            (task_id, state + (" degraded" if task_id in troubled and state != "failed" else ""))
            for task_id, state in result["tasks"].items()
        ]
        lines += ["", *table(("TASK", "STATE"), rows)]
    else:
        lines.append("no tasks")
    failed = [plugin for plugin in result["plugins"] if plugin["state"] == "failed"]
    lines += ["", f"plugins: {count(len(result['plugins']) - len(failed), 'component')} ready, {len(failed)} failed"]
    lines += [f"  {p['name']} ({p['distribution']} {p['version']}): {p['stage']}: {p['reason']}" for p in failed]
    lines += [f"command channel {channel['type']}: {_channel(channel)}" for channel in result["command_channels"]]
    if troubles:
        lines += ["", f"{count(len(troubles), 'thing')} down or degraded:", *map(_trouble, troubles)]
    warnings = [*result.get("warnings", ()), *_channel_warnings(result["command_channels"])]
    if warnings:
        lines += ["", "warnings:", *(f"  {warning}" for warning in warnings)]
    return _join(lines)


def alive_text(result: Mapping[str, Any]) -> str:
    """Say which daemon answers; of one that could say nothing of itself, only that."""
    if "version" not in result:
        return "otus answers"
    return f"otus {result['version']}, up {say_duration(result['uptime_sec'])}"


STATS = (
    Column("TASK", least=6),
    Column("STATE", least=7),
    Column("FRAMES/S"),
    Column("MSG/S"),
    Column("FRAMES", leaves=2),
    Column("KEPT", leaves=1),
    Column("KERNEL DROP", leaves=4),
    Column("LOST"),
    Column("QUEUED", leaves=3),
    Column("UNACC", leaves=5),
)
"""What ``otus stats`` shows, and what goes first where the terminal is narrow."""


def stats_text(result: Mapping[str, Any], width: int = 0) -> str:
    """Render ``daemon_stats`` as a table, a line a task, what troubles them, and what each did not look into; lines
    are no longer than ``width``, unless that is 0.
    """
    rows = [_stats_row(task_id, stats) for task_id, stats in result["tasks"].items()]
    if not rows:
        return "no tasks"
    troubles = [
        {"task": task_id, "reason": why} for task_id, stats in result["tasks"].items() for why in stats["troubles"]
    ]
    hidden = [line for task_id, stats in result["tasks"].items() for line in _tell_hidden(stats, f"{task_id} ")]
    cells = [[show(cell, CELL_MAX) for cell in row] for row in rows]
    lines = [*table_lines(STATS, cells, width), *([""] if troubles else []), *map(_trouble, troubles), *hidden]
    return "\n".join(show(line, min(width or LINE_MAX, LINE_MAX)) for line in lines)


def task_text(result: Mapping[str, Any]) -> str:
    """Render one task of ``task_status``."""
    told = {**result, "state": _state(result)}
    facts = [(name, say(told[key])) for key, name in _TASK_FACTS.items() if told.get(key) not in (None, "", 0)]
    facts += [("trouble", trouble) for trouble in result.get("troubles", ()) if trouble != result["reason"]]
    lines = [f"{name:<18} {value}" for name, value in facts]
    if "counters" in result:
        lines += ["", *_counter_lines(result["counters"]), *_tell_hidden(result)]
    for worker in result.get("workers", ()):
        lines += ["", *_worker_lines(worker)]
    return _join(lines)


def _tell_hidden(task: Mapping[str, Any], about: str = "") -> list[str]:
    """Tell what a task did not look into, below an empty line."""
    lines = hidden_lines(task.get("counters", {}).get("not_looked_into", ()))
    return ["", about + lines[0], *lines[1:]] if lines else []


def tasks_text(result: Mapping[str, Any]) -> str:
    """Render ``task_status`` of all tasks."""
    rows = [
        (t["task_id"], _state(t), t["started_at"] or "-", str(t["restart_count"]), _first_reason(t))
        for t in [*result["tasks"], *result["ended"]]
    ]
    return _join(table(("TASK", "STATE", "STARTED", "RESTARTS", "REASON"), rows)) if rows else "no tasks"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Align rows in columns; each cell is cut to ``CELL_MAX``."""
    cells = [[show(cell, CELL_MAX) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _join(lines: Iterable[str]) -> str:
    return "\n".join(show(line, LINE_MAX) for line in lines)


def _state(task: Mapping[str, Any]) -> str:
    state: str = task["state"]
    return state + (" degraded" if task.get("degraded") and state != "failed" else "")


def _first_reason(task: Mapping[str, Any]) -> str:
    """Say why a task is not as it should be: the first of its troubles, and how many more there are."""
    first, *others = task.get("troubles") or [task["reason"]]
    more = f" (and {len(others)} more)" if others else ""
    return show(first, CELL_MAX - len(more)) + more


def _trouble(trouble: Mapping[str, str]) -> str:
    """Say who suffers, and from what."""
    who = [f"{kind.replace('_', ' ')} {name}" for kind, name in trouble.items() if kind != "reason"]
    return f"  {' '.join(who)}: {trouble['reason']}"


def _channel(channel: Mapping[str, Any]) -> str:
    """Say whether a channel is connected, else why not, and what else it tells of itself."""
    up = "connected" if "connected" in channel else "running"
    state = up if channel.get("connected", True) else f"down: {channel.get('last_error') or 'not connected'}"
    return "; ".join([state, *_pairs(channel, ("type", "connected", "last_error", "warning"))])


def _channel_warnings(channels: Iterable[Mapping[str, Any]]) -> list[str]:
    return [f"command channel {one['type']}: {one['warning']}" for one in channels if one.get("warning")]


def _worker_lines(worker: Mapping[str, Any]) -> list[str]:
    """Tell of one worker, and of what its reporters say of their destinations."""
    facts = [worker["state"] + (f": {worker['reason']}" if worker["reason"] else "")]
    facts += [f"pid {worker['pid']}"] if worker["pid"] else []
    facts += [f"restarted {count(worker['restarts'], 'time')}"] if worker["restarts"] else []
    lines = [f"worker {worker['worker']}: {', '.join(facts)}"]
    for name, status in worker.get("reporters", {}).items():
        about = [
            *filter(None, (str(status.get("state", "")), str(status.get("reason", "")))),
            *_pairs(status, ("state", "reason")),
        ]
        lines += [f"  reporter {name}: {'; '.join(about)}"] if about else []
    for name, said_now in worker.get("components", {}).items():
        why = f": {said_now['reason']}" if said_now["reason"] else ""
        lines.append(f"  {name.replace(':', ' ', 1)} {said_now['status']}{why}")
    return lines


def _pairs(told: Mapping[str, Any], but: Sequence[str]) -> list[str]:
    """Give what a component tells of itself as words, without what is empty and what is said elsewhere."""
    return [f"{key.replace('_', ' ')} {say(value)}" for key, value in told.items() if key not in but and say(value)]


_TASK_FACTS = {
    "task_id": "task",
    "state": "state",
    "created_at": "created",
    "started_at": "started",
    "ended_at": "ended",
    "restart_count": "restarts",
    "worker_restarts": "worker restarts",
    "supervisor_errors": "supervisor errors",
    "one_worker": "one worker",
    "reason": "reason",
    "next_try_at": "next try",
}
"""What ``otus task status ID`` shows of a task, with its name there; nothing that is empty or zero."""


def _stats_row(task_id: str, stats: Mapping[str, Any]) -> tuple[str, ...]:
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
    return (task_id, _state(stats), *(f"{number:,.0f}" for number in numbers))


def _counter_lines(counters: Mapping[str, Any]) -> list[str]:
    """Give every counter, nested ones with their reason when they are not zero."""
    lines = []
    for name, value in counters.items():
        if isinstance(value, int):
            lines.append(f"{name:<34} {value:>14,}")
        elif name == "dropped":
            lines += [f"dropped {reason:<26} {n:>14,}" for reason, n in value.items()]
        elif name in ("records", "consumed", "cut_short", "routed", "routed_lost"):
            lines += [f"{f'{name} {component}':<34} {n:>14,}" for component, n in value.items()]
        elif name == "counted":
            lines += [f"{counter.replace(':', ' '):<34} {n:>14,}" for counter, n in value.items()]
        elif name in ("parse_errors", "errors"):
            lines += [f"{name.replace('_', ' ')} {what.replace(':', ' ', 1):<26} {n:>14,}" for what, n in value.items()]
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
