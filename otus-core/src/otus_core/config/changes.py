"""What differs between two configurations, and which of it waits for a restart."""

from __future__ import annotations

from typing import Any

import attrs

from otus_core.config.daemon import DaemonConfig
from otus_core.config.sections import keys_of

AT_ONCE = (
    "log.level",
    "metrics.interval",
    "backpressure",
    "core.decoder",
    "reporters",
    "resources",
    "task_persistence.gc_interval",
    "task_persistence.max_task_history",
    "tasks_dir",
)
"""Keys, with all below them, that take effect at a reload.

Where they are defaults of tasks, live tasks that inherit them are started anew.
"""


def changes(old: Any, new: Any) -> tuple[list[str], list[str]]:
    """Give the paths that changed and take effect, and those that changed and need a restart."""
    differing = _differing(old, new, "")
    own = keys_of(DaemonConfig)  # other keys are blocks of plugins, which tasks inherit
    at_once = [path for path in differing if path.startswith(AT_ONCE) or path.partition(".")[0] not in own]
    return at_once, [path for path in differing if path not in at_once]


def _differing(old: Any, new: Any, path: str) -> list[str]:
    if attrs.has(type(old)) and type(old) is type(new):
        found = []
        for attribute in attrs.fields(type(old)):
            below = f"{path}.{attribute.name}" if path else attribute.name
            found += _differing(getattr(old, attribute.name), getattr(new, attribute.name), below)
        return found
    return [] if old == new else [path]
