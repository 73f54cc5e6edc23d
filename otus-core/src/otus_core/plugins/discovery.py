"""Finds the installed plugins by their metadata alone: nothing of theirs is imported.

In: what lies on ``sys.path``. Out: a record for each entry point of the group ``otus.plugins``, and one for each
distribution whose metadata is damaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

import otus_core
from otus_core.errors import closest
from otus_core.model.text import printable, words_of
from otus_core.plugins.folder import FOLDER_ENVIRONMENT, FolderRefused, add_plugin_folder
from otus_core.plugins.installed import Entry, distributions, entries_of
from otus_core.plugins.metadata import metadata_of
from otus_core.plugins.records import PluginRecord, fail
from otus_core.plugins.selection import Selection, normalize

CORE = "otus-core"
CORE_RECORD = PluginRecord(plugin="core", distribution=CORE, version=otus_core.__version__)
UNKNOWN = "unknown"
Found = tuple[PluginRecord, Entry]


def find(selection: Selection | None = None) -> list[PluginRecord]:
    """Give the records of what is installed, from metadata alone: nothing is imported."""
    plugins, damaged = find_plugins()
    selection = selection or Selection()
    return [*damaged, *(disable(record, selection) or record for record, _ in plugins)]


def unknown(names: Iterable[str], records: Sequence[PluginRecord] | None = None) -> list[str]:
    """Say of each name that is neither a plugin's nor a distribution's, broken ones included, that it is none; nothing
    is imported.
    """
    names = list(names)
    if not names:
        return []
    records = find() if records is None else records
    plugins = sorted({record.plugin for record in records})
    there = {*plugins, *(normalize(record.distribution) for record in records)}
    told = []
    for name in names:
        if name in there or normalize(name) in there:
            continue
        near = closest(name, plugins) or closest(normalize(name), sorted(there))
        hint = f"did you mean {near!r}?" if near is not None else f"installed: {', '.join(plugins) or 'none'}"
        told.append(f"there is no plugin {name!r}; {hint}")
    return told


def find_plugins() -> tuple[list[Found], list[PluginRecord]]:
    """Give the group's entry points by name, then distribution, and a record of each distribution whose metadata cannot
    be read, or of the folder of plugins when it is refused.

    Only files that name the group are looked into. Of two distributions of one name the first on the path is the one
    that Python imports.
    """
    plugins: list[Found] = []
    damaged: list[PluginRecord] = _add_folder()
    seen: set[str] = set()
    for dist in distributions():
        try:
            entries = entries_of(dist)
        except Exception as error:
            damaged.append(_record_damage(dist, error))
            continue
        if not entries:
            continue
        name, version = _identity(dist)
        if name == UNKNOWN or normalize(name) not in seen:
            seen.add(normalize(name))
            plugins += [
                (PluginRecord(plugin=printable(e.name, 64), distribution=name, version=version), e) for e in entries
            ]
    return sorted(plugins, key=lambda pair: (pair[0].plugin, pair[0].distribution)), damaged


def _add_folder() -> list[PluginRecord]:
    try:
        add_plugin_folder()
    except FolderRefused as refused:
        record = PluginRecord(plugin=FOLDER_ENVIRONMENT, distribution=FOLDER_ENVIRONMENT, version=UNKNOWN)
        remedy = "name a folder that root or you own, and that nobody else can write to"
        return [fail(record, "found", f"the folder {refused}", remedy)]
    return []


def _record_damage(dist: Any, error: Exception) -> PluginRecord:
    name, version = _identity(dist)
    record = PluginRecord(plugin=name, distribution=name, version=version)
    return fail(record, "found", f"its entry_points.txt cannot be read: {words_of(error)}", f"install {name} again")


def _identity(dist: Any) -> tuple[str, str]:
    """Give a distribution's name and version, also when its METADATA is damaged."""
    try:
        about = metadata_of(dist)
    except Exception:
        # Its entry point may work all the same, and says whose it is when it is used.
        return UNKNOWN, UNKNOWN
    return printable(about.name, 64) or UNKNOWN, printable(about.version, 32) or UNKNOWN


def disable(record: PluginRecord, selection: Selection) -> PluginRecord | None:
    """Give the record of a plugin that is not wanted, ``None`` for one that is."""
    why_not = selection.why_not(record.plugin, record.distribution)
    return attrs.evolve(record, stage="disabled", reason=why_not, remedy="enable it to use it") if why_not else None


def killer(record: PluginRecord, deadly: Mapping[str, str]) -> PluginRecord | None:
    """Give the record of a plugin of which is known what its import does to a process, ``None`` for all others."""
    reason = deadly.get(f"{record.plugin} {record.distribution}")
    return fail(record, "import", reason, leave_out(record)) if reason is not None else None


def leave_out(record: PluginRecord) -> str:
    """Say what to do about a plugin whose own fault it is that it cannot be used."""
    return f"ask the authors of {record.distribution}, or disable it: --no-plugin {record.plugin}"
