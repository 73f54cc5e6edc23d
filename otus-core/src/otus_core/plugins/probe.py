"""The process in which plugins are looked at: it imports them, says what they declare, and may die of it.

In: standard input, a JSON object with ``path`` (the ``sys.path`` to look along) and ``plugins``, pairs of entry point
and distribution. Out: on the descriptor that ``sys.argv`` names, a line of JSON before each plugin (its place in the
list) and one after it (what there is to know, as ``survey.Seen`` reads it).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from otus_core.declarations import CommandGroup
from otus_core.model.text import tell
from otus_core.plugins.discovery import CORE_RECORD, Found, find_plugins
from otus_core.plugins.loader import take_through
from otus_core.plugins.records import DESCRIBED, PluginRecord, fail
from otus_core.plugins.registry import Loaded

FILES_MAX = 32
"""Of those that a plugin was made of; when one of them changes it is looked at again."""


def main() -> None:
    """Look at each plugin, and end without waiting for what it may have started."""
    request = json.load(sys.stdin)
    out = int(sys.argv[1])
    sys.path[:] = request["path"]
    there, _ = find_plugins()
    for n, (plugin, distribution) in enumerate(request["plugins"]):
        _say(out, n)
        _say(out, _look_at(plugin, distribution, there))
    # No clean-up: threads and handlers of a plugin could keep the process from ending.
    os._exit(0)


def _say(out: int, what: Any) -> None:
    data = json.dumps(what).encode() + b"\n"
    while data:  # write(2) may take less than it is given
        data = data[os.write(out, data) :]


def _look_at(plugin: str, distribution: str, there: list[Found]) -> dict[str, Any]:
    # What is imported from here on is what the plugin is made of, whatever it does it with.
    before = set(sys.modules)
    loaded = _take_named(plugin, distribution, there)
    record = loaded.record
    commands, complaints = _commands(loaded)
    return {
        "stage": record.stage,
        "reason": record.reason,
        "remedy": record.remedy,
        "components": [{name: str(getattr(c.declaration, name)) for name in DESCRIBED} for c in record.components],
        "commands": commands,
        "complaints": complaints,
        "files": _files(name for name in sys.modules if name not in before),
    }


def _take_named(plugin: str, distribution: str, there: list[Found]) -> Loaded:
    if (plugin, distribution) == (CORE_RECORD.plugin, CORE_RECORD.distribution):
        return take_through(CORE_RECORD, None)
    for record, entry in there:
        if (record.plugin, record.distribution) == (plugin, distribution):
            return take_through(record, entry)
    record = PluginRecord(plugin=plugin, distribution=distribution, version="")
    return Loaded(record=fail(record, "found", "it was there a moment ago", "list the plugins again"))


def _commands(loaded: Loaded) -> tuple[dict[str, list[str]], list[str]]:
    """Give the command groups that a plugin adds, and what is wrong with its answer."""
    commands: dict[str, list[str]] = {}
    if loaded.manager is None:
        return commands, []
    try:
        answers = loaded.manager.hook.otus_cli_commands()
    except BaseException as error:
        return commands, [tell(error)]
    complaints = []
    for answer in answers:
        if not isinstance(answer, Mapping):
            complaints.append(f"TypeError: it gave {answer!r}, not a mapping")
            continue
        for name, group in answer.items():
            if isinstance(group, CommandGroup) and isinstance(name, str):
                commands[name] = [group.app, str(group.summary)]
            else:
                complaints.append(f"TypeError: {name!r} is {group!r}, not an otus_core.CommandGroup")
    return commands, complaints


def _files(names: Iterable[str]) -> list[list[Any]]:
    """Give path, time and size of the files of modules, first those that were imported first."""
    files: list[list[Any]] = []
    for name in names:
        path = getattr(sys.modules[name], "__file__", None)
        if isinstance(path, str) and len(files) < FILES_MAX:
            try:
                about = os.stat(path)
            except OSError:
                continue
            files.append([path, about.st_mtime_ns, about.st_size])
    return files
