"""What the installed plugins offer, without importing any of them here.

In: a selection. Out: a ``Survey``. What a plugin declares is known from a process of its own (``look``), and after that
from the user's cache (``cache``), as long as the files are the same that it was made of.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import attrs

import otus_core
from otus_core.model.text import printable
from otus_core.plugins import cache
from otus_core.plugins.conflicts import settle
from otus_core.plugins.discovery import CORE_RECORD, Found, disable, find_plugins, leave_out
from otus_core.plugins.known import FIRST_PARTY
from otus_core.plugins.records import (
    REASON_MAX,
    STAGES,
    ComponentRecord,
    Described,
    PluginRecord,
    Stage,
)
from otus_core.plugins.selection import Selection, normalize
from otus_core.values import frozen

FAILURE_AGE_S = 3600.0
"""So long it is remembered that a plugin failed: what it lacked may be there by then, outside the files that are
compared."""
TEXT_MAX = 400
"""Characters of a text that another process said, or that a file holds."""
INSTALLED_FILES = ("METADATA", "RECORD", "entry_points.txt", "PKG-INFO")
INTERFACE = ("declarations.py", "hookspecs.py")
"""Of the core: they change under a plugin's feet only where somebody works on the core itself."""


@frozen(kw_only=True, eq=False)
class Survey:
    """``records`` as a registry has them, with descriptions in place of declarations.

    ``commands`` are those that plugins add, each with its record: ``(record, name, target, summary)``. ``complaints``
    say what is wrong with a plugin's answer to that question.
    """

    records: tuple[PluginRecord, ...]
    commands: tuple[tuple[PluginRecord, str, str, str], ...]
    complaints: tuple[tuple[PluginRecord, str], ...]


@frozen(kw_only=True, eq=False)
class _Seen:
    """One plugin as it was when it was looked at."""

    record: PluginRecord
    commands: Sequence[tuple[str, str, str]] = ()
    complaints: Sequence[str] = ()
    is_deadly: bool = False


def survey(selection: Selection, *, again: bool = False) -> Survey:
    """Look at what the selection wants; with ``again`` anew at what failed before."""
    plugins, damaged = find_plugins()
    left_out = [refused for record, _ in plugins if (refused := disable(record, selection)) is not None]
    wanted = [(record, entry) for record, entry in plugins if disable(record, selection) is None]
    seen = _see([(CORE_RECORD, None), *wanted], again=again)
    rest = sorted([*left_out, *(one.record for one in seen[1:])], key=lambda r: (r.plugin, r.distribution))
    records = settle([seen[0].record, *damaged, *rest], selection.prefer)
    return Survey(
        records=tuple(records),
        commands=tuple((one.record, *command) for one in seen for command in one.commands),
        complaints=tuple((one.record, complaint) for one in seen for complaint in one.complaints),
    )


def deadly(plugins: Iterable[Found], selection: Selection) -> dict[str, str]:
    """Say which third-party plugins must not be imported here, as ``Selection.deadly`` does."""
    asked: list[tuple[PluginRecord, Any]] = [
        (record, entry)
        for record, entry in plugins
        if normalize(record.distribution) not in FIRST_PARTY and disable(record, selection) is None
    ]
    # First-party plugins are tested together with the core, and are spared the process.
    killers = (one.record for one in _see(asked) if one.is_deadly)
    return {f"{record.plugin} {record.distribution}": record.reason for record in killers}


def _see(plugins: Sequence[tuple[PluginRecord, Any]], *, again: bool = False) -> list[_Seen]:
    """Give what is known of plugins (the core's own without entry point), looking at those of which nothing is."""
    if not plugins:
        return []
    entries = cache.read()
    stamps = [_stamp(record, entry) for record, entry in plugins]
    known = {
        n: one
        for n, (record, entry) in enumerate(plugins)
        if (one := _recall(entries.get(_key(record, entry)), record, stamps[n], again=again)) is not None
    }
    unknown = [n for n in range(len(plugins)) if n not in known]
    if unknown:
        from otus_core.plugins.look import look_at  # rarely needed, and start-up is measured

        answers = look_at([(plugins[n][0].plugin, plugins[n][0].distribution) for n in unknown])
        for n, said in zip(unknown, answers, strict=True):
            record, entry = plugins[n]
            known[n] = _read(said, record) or _Seen(record=record)
            if stamps[n]:
                kept = {"stamp": stamps[n], "said": said, "at": int(time.time()), "places": _places()}
                entries[_key(record, entry)] = kept
        cache.write(entries)
    return [known[n] for n in range(len(plugins))]


def _key(record: PluginRecord, entry: Any) -> str:
    place = "" if entry is None else str(getattr(entry.dist, "_path", ""))
    return "\n".join((sys.prefix, place, record.plugin, record.distribution))


def _stamp(record: PluginRecord, entry: Any) -> str:
    """Digest what must be the same for an answer to hold; empty where it cannot be told, and nothing is to be kept."""
    versions = [otus_core.__version__, list(sys.version_info[:3]), record.version]
    # Size and time of change stand for the content: reading all files would cost what the cache saves.
    ours = [_about(os.path.join(os.path.dirname(otus_core.__file__), name)) for name in INTERFACE]
    if entry is None:
        return _digest([*versions, *ours])
    place = getattr(entry.dist, "_path", None)
    if place is None or not os.path.isdir(place):
        return ""
    installed = [_about(os.path.join(place, name)) for name in INSTALLED_FILES]
    return _digest([*versions, *ours, entry.value, sys.path, *installed])


def _places() -> str:
    """Digest the times of the folders that are imported from: what a plugin lacked may have been installed since."""
    return _digest([_about(folder) for folder in sys.path])


def _digest(values: list[Any]) -> str:
    return blake2b(repr(values).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _about(path: str) -> list[int]:
    try:
        about = os.stat(path)
    except OSError:
        return []
    return [about.st_mtime_ns, about.st_size]


def _recall(entry: Any, record: PluginRecord, stamp: str, *, again: bool) -> _Seen | None:
    """Read what was kept of a plugin, ``None`` where that is nothing, or out of date, or no longer sound."""
    if not isinstance(entry, dict) or not stamp or entry.get("stamp") != stamp:
        return None
    said, at = entry.get("said"), entry.get("at")
    one = _read(said, record)
    if one is None or not isinstance(said, dict):
        return None
    if one.record.stage != "ready":
        is_recent = isinstance(at, int) and 0 <= time.time() - at < FAILURE_AGE_S
        if again or not is_recent or entry.get("places") != _places():
            return None
    files = said.get("files", [])
    same = isinstance(files, list) and all(
        isinstance(file, list) and len(file) == 3 and isinstance(file[0], str) and _about(file[0]) == file[1:]
        for file in files
    )
    return one if same else None


def _read(said: Any, record: PluginRecord) -> _Seen | None:
    """Read what ``probe`` said, or what was kept of it; ``None`` for what it cannot have said."""
    try:
        stage = _stage(said["stage"])
        remedy = _text(said.get("remedy", "")) or (leave_out(record) if stage != "ready" else "")
        components = tuple(
            ComponentRecord(declaration=Described(**{name: _text(value) for name, value in one.items()}))
            for one in said.get("components", ())
        )
        commands = [
            (_text(name), _text(target), _text(summary)) for name, (target, summary) in _pairs(said.get("commands", {}))
        ]
        complaints = [_text(complaint) for complaint in said.get("complaints", ())]
        reason = _text(said["reason"])[:REASON_MAX]
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    about = attrs.evolve(record, stage=stage, reason=reason, remedy=remedy, components=components)
    return _Seen(record=about, commands=commands, complaints=complaints, is_deadly=said.get("deadly") is True)


def _pairs(commands: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return commands.items()


def _stage(value: Any) -> Stage:
    for stage in STAGES:
        if value == stage:
            return stage
    raise ValueError(f"{value!r} is no stage")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value if value.isprintable() and len(value) <= TEXT_MAX else printable(value, TEXT_MAX)
