"""A task's states, and which may follow which.

created → starting → running → stopping → stopped
             ↘          ↘          ↘
              failed     failed     failed

A task that is still wanted goes from ``failed`` to ``starting`` again, one that was kept without being started from
``stopped``.
"""

from __future__ import annotations

import re
from typing import Literal

State = Literal["created", "starting", "running", "stopping", "stopped", "failed"]
STATES: tuple[State, ...] = ("created", "starting", "running", "stopping", "stopped", "failed")
# "stopping" too: until its workers have ended, their sockets and their memory are taken.
ACTIVE: frozenset[State] = frozenset({"starting", "running", "stopping"})
"""States in which a task has, or may have, worker processes."""

FOLLOWERS: dict[State, frozenset[State]] = {
    "created": frozenset({"starting", "stopping", "stopped", "failed"}),
    "starting": frozenset({"running", "stopping", "failed"}),
    # To itself: a live task that is changed is taken over by its successor without a gap.
    "running": frozenset({"running", "stopping", "stopped", "failed"}),
    "stopping": frozenset({"stopped", "failed", "starting"}),
    "stopped": frozenset({"starting", "stopping", "failed"}),
    "failed": frozenset({"starting", "stopping", "failed"}),
}

TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
"""Ids become file names: no separators, no leading dot, no empty name."""


def may_follow(old: State, new: State) -> bool:
    """Say whether a task may go from one state to the other."""
    return new in FOLLOWERS[old]
