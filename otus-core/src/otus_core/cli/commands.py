"""Every command of ``otus``, with where it is: the help needs no module of theirs, and a command imports
its own alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from otus_core.log import Logger

if TYPE_CHECKING:
    from otus_core.plugins.survey import Survey

log = Logger("otus.plugins")


class Entry(NamedTuple):
    """A command: ``target`` names a function or a ``typer.Typer``."""

    target: str
    summary: str


SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "Capture": {
        "run": Entry(
            "otus_core.cli.run:run", "Read capture files or capture live, and print the messages that are found"
        ),
    },
    "Daemon": {
        "daemon": Entry("otus_core.cli.operate:daemon", "Run the daemon, which keeps capture tasks running"),
        "stop": Entry("otus_core.cli.operate:stop", "Stop the daemon; its tasks come back when it is started again"),
        "reload": Entry("otus_core.cli.operate:reload", "Have the daemon read its configuration again"),
        "status": Entry(
            "otus_core.cli.operate:status", "Show the daemon's tasks and plugins, and whether anything is down"
        ),
        "stats": Entry("otus_core.cli.operate:stats", "Show packet rates, drops and queue levels of each task"),
        "top": Entry("otus_core.cli.top:top", "Show on a screen what the tasks are doing"),
        "tap": Entry("otus_core.cli.tap:tap", "Show live what a running task reports"),
        "task": Entry("otus_core.cli.operate:task_app", "Create, show, start and delete the daemon's tasks"),
    },
    "Plugins": {
        "plugins": Entry("otus_core.cli.plugins:app", "List and check plugins, and write a new one"),
    },
    "Files": {
        "validate": Entry("otus_core.cli.validate:validate", "Check a task file or the daemon's configuration file"),
        "schema": Entry(
            "otus_core.cli.schema:schema", "Print JSON Schemas: of these files, and of all that Otus reports"
        ),
        "config": Entry("otus_core.cli.config:app", "Print a sample configuration, or the one that is in force"),
    },
}

COMMANDS: Mapping[str, Entry] = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


def plugin_commands(found: Survey) -> dict[str, Entry]:
    """Give the commands that plugins add.

    A name that is taken is refused, and logged with the plugin that wanted it.
    """
    commands: dict[str, Entry] = {}
    complaints = list(found.complaints)
    for record, name, target, summary in found.commands:
        if name in COMMANDS or name in commands:
            complaints.append((record, f"ValueError: the command {name!r} is there already"))
        else:
            commands[name] = Entry(target, f"{summary} ({record.distribution})")
    for record, complaint in complaints:
        log.warning(
            "plugin_hook_failed",
            plugin=record.plugin,
            version=record.version,
            hook="otus_cli_commands",
            error=complaint,
        )
    return commands
