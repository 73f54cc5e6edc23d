"""``task_tap``: what a running task reports, live, to a local caller for as long as he looks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from otus_core.config.converter import structure
from otus_core.control.params import Look
from otus_core.control.protocol import Follow
from otus_core.errors import ConfigInvalid, ConfigProblem, OtusError
from otus_core.plugins.registry import Registry
from otus_core.supervise.manager import TaskManager
from otus_core.supervise.taps import Taps, Viewer


def tap_task(manager: TaskManager, registry: Registry, params: Mapping[str, Any]) -> Follow:
    """Let the caller look in. Raises OtusError for a task that does not run, and ConfigInvalid for wrong params."""
    look = structure(Look, params, "params")
    task = manager.get(look.task_id)
    supervisor = task.supervisor
    if supervisor is None:
        raise OtusError(f"task {look.task_id} is {task.state}: there is nothing to see until it runs")
    if look.filter:
        _check(look.filter, registry)
    taps = supervisor.taps
    viewer = taps.open(
        expression=look.filter, form=look.format, columns=look.columns, colour=look.colour, rate=look.rate
    )
    opening = {"task_id": look.task_id, "workers": len(supervisor.slots)}
    return Follow(opening, "tap", _events(taps, viewer))


def _check(expression: str, registry: Registry) -> None:
    """Refuse an expression that the filter cannot read. Raises ConfigInvalid, PluginNotFound."""
    config = registry.component("processor", "filter").declaration.load_config()
    try:
        structure(config, {"keep_if": expression}, "")
    except ConfigInvalid as error:
        raise ConfigInvalid([ConfigProblem("params.filter", problem.message) for problem in error.problems]) from None


async def _events(taps: Taps, viewer: Viewer) -> AsyncGenerator[dict[str, Any], None]:
    try:
        async for event in viewer:
            yield event
    finally:
        taps.close(viewer)
