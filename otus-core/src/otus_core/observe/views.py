"""What the metrics show, as of one moment: the daemon makes it on its event loop, a scrape turns it into metrics on a
thread of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from otus_core.model.text import printable
from otus_core.pipeline.counters import Roster
from otus_core.plugins.records import PluginRecord
from otus_core.supervise.entry import Task
from otus_core.supervise.health import troubles
from otus_core.supervise.levels import answering, fill_levels, spool_levels, spool_limits
from otus_core.values import frozen


@frozen(kw_only=True)
class TaskView:
    """One task as the metrics see it.

    Of each worker: ``workers`` holds its counters, ``capturing`` whether it takes frames (of live sources only),
    ``pids`` its process (``None`` while there is none), ``memory`` the bytes of its own. ``connected``, ``fill``,
    ``spool_limit`` and ``spool_fill`` are by reporter; one that does not tell whether its destination answers is not in
    ``connected``, one without a spool not in the last two. Limits are in bytes, ``memory_limit`` 0 for none.
    """

    id: str
    state: str
    interface: str
    degraded: bool
    restarts: int
    setbacks: int
    roster: Roster
    workers: tuple[Mapping[str, int], ...]
    pids: tuple[int | None, ...] = ()
    capturing: tuple[bool, ...] = ()
    connected: Mapping[str, bool] = attrs.field(factory=dict)
    fill: Mapping[str, float] = attrs.field(factory=dict)
    spool_limit: Mapping[str, int] = attrs.field(factory=dict)
    spool_fill: Mapping[str, float] = attrs.field(factory=dict)
    memory: tuple[int, ...] = ()
    memory_limit: int = 0


@frozen(kw_only=True)
class View:
    """What is measured, as of now.

    ``channels`` tells of each command channel whether it is connected, ``namesakes`` of how many others with this
    node's name it knows.
    """

    tasks: tuple[TaskView, ...]
    plugins: tuple[PluginRecord, ...]
    reload_failures: int
    log_lines_dropped: int
    channels: Mapping[str, bool] = attrs.field(factory=dict)
    channels_counted: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    channels_said: Mapping[str, str] = attrs.field(factory=dict)
    namesakes: Mapping[str, int] = attrs.field(factory=dict)
    chore_failures: Mapping[str, int] = attrs.field(factory=dict)
    spool_bytes_left: int = 0
    scrapes_closed: Mapping[str, int] = attrs.field(factory=dict)


def task_view(task: Task) -> TaskView:
    """Give what metrics show of a task; one that never started has its state alone."""
    supervisor, config, interface = task.supervisor, task.config, ""
    if config is not None:
        interface = printable(str(getattr(config.capture.settings, "interface", None) or config.capture.type))
    view = TaskView(
        id=task.stored.id,
        state=task.state,
        interface=interface,
        degraded=bool(troubles(task)),
        restarts=0,
        setbacks=0,
        roster=Roster(),
        workers=(),
    )
    if supervisor is None or config is None:
        return view
    slots = supervisor.slots
    capturing = task.state == "running" and supervisor.roster.live
    return attrs.evolve(
        view,
        restarts=supervisor.restarts,
        setbacks=supervisor.setbacks,
        roster=supervisor.roster,
        workers=tuple(slot.accounts.snapshot() for slot in slots),
        pids=tuple(slot.pid for slot in slots),
        capturing=tuple(slot.state == "running" and not slot.trouble for slot in slots if capturing),
        connected=answering(supervisor),
        fill=fill_levels(supervisor, config),
        spool_limit=spool_limits(supervisor, config),
        spool_fill=spool_levels(supervisor, config),
        memory=tuple(slot.rss() for slot in slots),
        memory_limit=config.worker_max_rss,
    )
