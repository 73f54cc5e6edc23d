"""Every hook that a plugin can implement. None of them is on the packet path.

A plugin is a module, named by an entry point of the group ``otus.plugins``, whose functions marked with
``otus_core.hookimpl`` answer these. A complete plugin module::

    import otus_core

    @otus_core.hookimpl
    def otus_components():
        yield otus_core.Parser(
            name="dns",
            factory="otus_dns.parser:DnsParser",
            payload_types=("dns",),
            transports=("udp",),
            ports=(53,),
            summary="DNS queries and answers",
        )
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from otus_core.declarations import CommandGroup, Declaration, SharedConfig

PROJECT = "otus"
ENTRY_POINT_GROUP = "otus.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def otus_components() -> Iterable[Declaration | SharedConfig]:
    """Declare the plugin's components.

    Called once when the plugin is loaded. Keep the module light: name factories as text, import nothing heavy::

        @otus_core.hookimpl
        def otus_components():
            yield otus_core.Reporter(name="syslog", factory="otus_syslog.reporter:SyslogReporter", summary="RFC 5424")
    """
    raise NotImplementedError


@hookspec
def otus_cli_commands() -> Mapping[str, CommandGroup] | None:
    """Add command groups to ``otus``, by name. A name that the core or another plugin has is refused::

    @otus_core.hookimpl
    def otus_cli_commands():
        return {"fleet": otus_core.CommandGroup(app="otus_fleet.cli:app", summary="Command many nodes")}
    """


@hookspec
def otus_startup(node: Mapping[str, Any]) -> None:
    """The daemon is about to start its tasks. ``node`` has ``hostname``, ``ip`` and ``tags``::

    @otus_core.hookimpl
    def otus_startup(node):
        announce(node["hostname"])
    """


@hookspec
def otus_shutdown() -> None:
    """The daemon has stopped its tasks and is about to end::

    @otus_core.hookimpl
    def otus_shutdown():
        close_announcements()
    """


@hookspec
def otus_task_state_changed(task_id: str, old: str, new: str, reason: str) -> None:
    """A task went from one state to another; ``reason`` is empty unless it failed::

    @otus_core.hookimpl
    def otus_task_state_changed(task_id, old, new, reason):
        if new == "failed":
            page_somebody(task_id, reason)
    """
