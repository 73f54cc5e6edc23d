"""Which plugins the operator chose, read before any of them is imported: ``plugins`` of the configuration file, the
variables over it, and the options of the command line.

In: a path, the environment, options. Out: a ``Selection``, and what names in it nobody has. Raises ConfigInvalid.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otus_core.errors import ConfigInvalid, ConfigProblem, closest
from otus_core.plugins.selection import DISABLED_ENVIRONMENT, Selection, read_disabled, selection_from

if TYPE_CHECKING:
    from otus_core.config.daemon import PluginsConfig

PREFIX = "OTUS_PLUGINS_"


def choose(
    path: Path | None,
    environment: Mapping[str, str] = os.environ,
    *,
    no_plugin: Iterable[str] = (),
    safe: bool = False,
) -> Selection:
    """Give the selection that all of these make together."""
    plugins = _read_config(path, environment)
    base = Selection()
    if plugins is not None:
        base = Selection(disabled=plugins.disabled, enabled=plugins.enabled, prefer=plugins.prefer)
    return selection_from(base, no_plugin=no_plugin, safe=safe, environment=environment)


def strange_names(
    path: Path | None, environment: Mapping[str, str] = os.environ, *, no_plugin: Iterable[str] = ()
) -> list[str]:
    """Say where a name is given that no plugin and no distribution has.

    That is no error: a service whose plugin was uninstalled must go on starting.
    """
    plugins = _read_config(path, environment)
    given: list[tuple[str, Iterable[str]]] = [
        ("--no-plugin", no_plugin),
        (DISABLED_ENVIRONMENT, read_disabled(environment)),
    ]
    prefer: Mapping[str, str] = {}
    if plugins is not None:
        given += [("plugins.disabled", plugins.disabled), ("plugins.enabled", plugins.enabled or ())]
        given += [("plugins.prefer", plugins.prefer.values())]
        prefer = plugins.prefer
    if not any(names for _, names in given):
        return []
    from otus_core.plugins.discovery import find, unknown

    records = find()
    told = [f"{where}: {said}" for where, names in given for said in unknown(dict.fromkeys(names), records)]
    return told + [f"plugins.prefer: {said}" for key in prefer for said in _strange_kind(key)]


def _strange_kind(key: str) -> Iterable[str]:
    from otus_core.declarations import KINDS

    kind, colon, name = key.partition(":")
    if kind not in KINDS or not colon or not name:
        near = closest(kind, KINDS)
        hint = f"did you mean {f'{near}:{name}'!r}?" if near is not None else f"kinds are {', '.join(KINDS)}"
        yield f"{key!r} is no KIND:NAME of a component; {hint}"


def _read_config(path: Path | None, environment: Mapping[str, str]) -> PluginsConfig | None:
    """Read ``otus.plugins``, ``None`` where nothing is said of it. Raises ConfigInvalid."""
    names = sorted(name for name in environment if name.startswith(PREFIX))
    if path is None and not names:
        return None
    from otus_core.config.converter import structure
    from otus_core.config.daemon import PluginsConfig
    from otus_core.config.effective import ROOT, read_variable
    from otus_core.config.load import load_file
    from otus_core.config.shape import fields_of

    data: Any = load_file(path) if path is not None else {}
    rooted = data.get(ROOT) if isinstance(data, dict) else None
    given = rooted.get("plugins", {}) if isinstance(rooted, dict) else {}
    fields = {f"{PREFIX}{field.key.upper()}": field for field in fields_of(PluginsConfig)}
    _refuse_unknown(names, fields)
    if isinstance(given, dict):
        given = {**given, **{fields[name].key: read_variable(name, environment[name], fields[name]) for name in names}}
    return structure(PluginsConfig, given, f"{ROOT}.plugins", str(path or "environment"))


def _refuse_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse variables that look like one that chooses plugins: what it was to keep out would be loaded."""
    problems = []
    for name in names:
        if name not in known:
            near = closest(name, known)
            hint = f"did you mean {near}?" if near is not None else f"there are: {', '.join(known)}"
            problems.append(ConfigProblem(name, f"there is no such variable; {hint}"))
    if problems:
        raise ConfigInvalid(problems, "environment")
