"""Whether several workers may share a task's source: not where components of one worker need in time what those of
another have seen.
"""

from __future__ import annotations

from collections.abc import Sequence

from otus_core.task.spec import ComponentSpec, TaskConfig


def one_worker_because(
    capture: ComponentSpec, parsers: Sequence[ComponentSpec], processors: Sequence[ComponentSpec]
) -> str:
    """Say why a task runs with one worker however many it asks for; empty if it does not.

    Workers read a file each at its own pace, so what one of them announces may come long after another has read the
    packets that depend on it. Live, all read at the pace of the network, and are told within milliseconds.
    """
    if capture.declaration.live:
        return ""
    sharing = [spec.id for spec in parsers if spec.declaration.wants_flows]
    if len(sharing) > 1:
        named = f"{', '.join(sharing[:-1])} and {sharing[-1]}"
        return f"parsers {named} tell each other of flows, and several workers read a file in no common order"
    routing = [f"{spec.declaration.kind} {spec.id}" for spec in (*parsers, *processors) if spec.declaration.routes]
    if routing:
        return f"{routing[0]} puts together what is in several workers, which read a file in no common order"
    return ""


def sharing_warnings(config: TaskConfig) -> list[str]:
    """Say that a task has fewer workers than it asks for, and why."""
    if not config.one_worker:
        return []
    return [f"workers: is {config.workers_wanted}, and the task runs with 1: {config.one_worker}"]
