"""Every command of ``otus``, with where it is: the help needs no module of theirs, and a command imports
its own alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A command: ``target`` names a function or a ``typer.Typer``."""

    target: str
    summary: str


SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "Capture": {
        "run": Entry("otus_core.cli.run:run", "Read capture files or an interface, and print what is in them"),
    },
    "Daemon": {
        "daemon": Entry("otus_core.cli.operate:daemon", "Run the daemon"),
        "stop": Entry("otus_core.cli.operate:stop", "Stop it; its tasks come back when it is started again"),
        "reload": Entry("otus_core.cli.operate:reload", "Let it read its configuration again"),
        "status": Entry(
            "otus_core.cli.operate:status", "Show its tasks, plugins and what is down; exit status 1 when something is"
        ),
        "stats": Entry("otus_core.cli.operate:stats", "Show rates, drops and queue levels of each task"),
        "task": Entry("otus_core.cli.operate:task_app", "Create, start, look at and delete its tasks"),
    },
    "Plugins": {
        "plugins": Entry("otus_core.cli.plugins:app", "List, show, check and write plugins"),
    },
    "Files": {
        "validate": Entry("otus_core.cli.validate:validate", "Check a task or configuration file"),
        "schema": Entry("otus_core.cli.schema:app", "Print the JSON Schema of such a file, for editors"),
        "config": Entry("otus_core.cli.config:app", "Print a configuration to start from, or the one in force"),
    },
}

COMMANDS: Mapping[str, Entry] = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


def plugin_commands(registry: Any) -> dict[str, Entry]:
    """Give the commands that plugins add.

    A name that is taken is refused, and logged with the plugin that wanted it.
    """
    from otus_core.declarations import CommandGroup

    found: dict[str, Entry] = {}
    for record, answer in registry.answers("otus_cli_commands"):
        if not isinstance(answer, Mapping):
            registry.log_hook_failure(record, "otus_cli_commands", TypeError(f"it gave {answer!r}, not a mapping"))
            continue
        for name, group in answer.items():
            if not isinstance(group, CommandGroup) or not isinstance(name, str):
                refusal: Exception = TypeError(f"{name!r} is {group!r}, not an otus_core.CommandGroup")
            elif name in COMMANDS or name in found:
                refusal = ValueError(f"the command {name!r} is there already")
            else:
                found[name] = Entry(group.app, f"{group.summary} ({record.distribution})")
                continue
            registry.log_hook_failure(record, "otus_cli_commands", refusal)
    return found
