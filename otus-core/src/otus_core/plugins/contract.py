"""The rules that a plugin keeps and that need no data to be checked; run in a process that holds this plugin alone.

    python -P -c "from otus_core.plugins.contract import main; main()" ENTRY_POINT DISTRIBUTION COMMAND,COMMAND,…

writes its findings as JSON, the last line of standard output. A rule is a generator of complaints; one that complains
of nothing is kept.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import importlib_metadata

import otus_core
from otus_core.config.converter import structure, unstructure
from otus_core.config.load import load_text
from otus_core.config.sample import sample
from otus_core.config.schema import schema
from otus_core.config.shape import fields_of
from otus_core.declarations import Capturer, Declaration, Parser
from otus_core.errors import ConfigInvalid
from otus_core.model.described import describe
from otus_core.model.text import tell
from otus_core.plugins.check import QUICK
from otus_core.plugins.contract_hooks import wrong_commands, wrong_hooks
from otus_core.plugins.contract_life import Complaints, Warned, acquires, hears, lives
from otus_core.plugins.discovery import find_plugins
from otus_core.plugins.loader import load
from otus_core.plugins.look import LIMIT_S
from otus_core.plugins.records import PluginRecord
from otus_core.plugins.registry import Loaded
from otus_core.plugins.selection import Selection, normalize

IMPORT_SLOW_S, IMPORT_MAX_S = 0.2, 1.0
"""Above the first a warning, above the second a fault."""
SUMMARY_MAX = 100
"""Characters: what fits beside a component's name on a line of a list."""


def findings(plugin: str, distribution: str, taken: Collection[str] = ()) -> list[dict[str, Any]]:
    """Load one plugin and give what each rule has to say of it; ``taken`` are the names of the core's commands."""
    seconds = _seconds_to_import(plugin, distribution)
    loaded = _load_plugin(plugin, distribution)
    record = loaded.record
    if record.stage == "conflict" or record.state != "ready":
        told = f"{record.stage}: {record.reason}; {record.remedy}"
        return [{"rule": "loads", "status": "failed", "message": told}]
    found: list[dict[str, Any]] = [{"rule": "loads", "status": "passed", "message": ""}]
    found += _hold(
        "declares its component's module as text, so that listing it imports none", partial(_is_light, record)
    )
    found += [{**one, "seconds": seconds} for one in _hold(QUICK, partial(_is_quick, seconds))]
    found += _hold("bounds the otus-core that it needs", partial(_requires, distribution))
    found += _hold("imports nothing below otus_core itself", partial(_imports, distribution))
    found += _hold("its hooks can be called", partial(wrong_hooks, loaded.manager))
    found += _hold("its commands can be used", partial(wrong_commands, loaded.manager, taken))
    for component in record.components:
        declared = component.declaration
        name = f"{declared.kind} {declared.name}"
        found += _hold(f"{name}: says what it is", partial(_says, declared))
        found += _hold(f"{name}: its configuration can be shown, sampled and read back", partial(_configures, declared))
        found += _hold(f"{name}: is made by its factory, and lives and ends as it should", partial(lives, declared))
        found += _hold(f"{name}: receives the hooks that it has", partial(hears, declared))
        if declared.schemas:
            found += _hold(f"{name}: what it makes can be described", partial(_describes, declared))
        if isinstance(declared, Capturer):
            found += _hold(f"{name}: opens what needs privilege as it should", partial(acquires, declared))
    return found


def _load_plugin(plugin: str, distribution: str) -> Loaded:
    registry = load(Selection(enabled=(plugin,)))
    for one in registry.loaded:
        if (one.record.plugin, normalize(one.record.distribution)) == (plugin, normalize(distribution)):
            return one
    return Loaded(record=PluginRecord(plugin=plugin, distribution=distribution, version="", reason="is not installed"))


def _seconds_to_import(plugin: str, distribution: str) -> float:
    """Import the plugin's module for the first time; what it raises is told when it is loaded."""
    entries = (
        entry
        for record, entry in find_plugins()[0]
        if (record.plugin, normalize(record.distribution)) == (plugin, normalize(distribution))
    )
    begun = time.perf_counter()
    for entry in entries:
        with contextlib.suppress(BaseException):
            entry.load()
    return time.perf_counter() - begun


def _is_quick(seconds: float) -> Complaints:
    """Hold a plugin to the time that importing it may take: each short command may have to wait for it."""
    told = f"importing it takes {seconds:.2f} s; import what is heavy where it is used"
    if seconds > IMPORT_MAX_S:
        yield f"{told}: after {LIMIT_S:g} s it counts as broken"
    elif seconds > IMPORT_SLOW_S:
        yield Warned(told)


def _hold(rule: str, complain: Callable[[], Complaints]) -> list[dict[str, str]]:
    """Hold a plugin to one rule; its code may raise anything, and that is a breach."""
    try:
        complaints = list(complain())
    except BaseException as error:
        complaints = [tell(error)]
    if not complaints:
        return [{"rule": rule, "status": "passed", "message": ""}]
    return [
        {"rule": rule, "status": "warning" if isinstance(told, Warned) else "failed", "message": str(told)[:300]}
        for told in complaints
    ]


def _is_light(record: PluginRecord) -> Complaints:
    entry = next(e for e in importlib_metadata.entry_points(group="otus.plugins") if e.name == record.plugin)
    for component in record.components:
        factory = component.declaration.factory
        if not isinstance(factory, str):
            yield f"{component.name}: its factory is {factory!r}; name it, as 'package.module:name'"
        elif factory.partition(":")[0] in sys.modules and factory.partition(":")[0] != entry.module:
            yield f"{component.name}: {factory.partition(':')[0]} is imported with {entry.module}"


def _requires(distribution: str) -> Complaints:
    from packaging.requirements import Requirement

    requirements = [Requirement(text) for text in importlib_metadata.distribution(distribution).requires or ()]
    ours = [r for r in requirements if normalize(r.name) == "otus-core" and r.marker is None]
    version = otus_core.__version__.split(".")
    wanted = f"otus-core>={version[0]}.{version[1]},<{version[0]}.{int(version[1]) + 1}"
    if not ours:
        yield f"its dependencies do not name otus-core: add {wanted!r}"
    for requirement in ours:
        operators = {specifier.operator for specifier in requirement.specifier}
        if "==" in operators:
            yield f"it wants exactly {requirement}, and so nobody can upgrade: {wanted!r}"
        elif not operators & {"<", "<=", "~="}:
            yield Warned(f"{requirement} has no upper bound, and a later core may change: {wanted!r}")


def _imports(distribution: str) -> Complaints:
    """Look into the sources that lie beside the plugin's module."""
    entries = [
        e
        for e in importlib_metadata.entry_points(group="otus.plugins")
        if e.dist and normalize(e.dist.name) == normalize(distribution)
    ]
    for entry in entries:
        module = sys.modules.get(entry.module)
        if module is None or not module.__file__ or module.__name__ == module.__package__:
            continue
        for file in sorted(Path(module.__file__).parent.rglob("*.py")):
            for name, line in _inner_imports(file):
                yield f"{file.name}:{line} imports {name}; what plugins may use is in otus_core itself"


def _inner_imports(file: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("otus_core."):
            if node.module != "otus_core.testing":
                yield str(node.module), node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "otus_core":
            yield from ((f"otus_core.{a.name}", node.lineno) for a in node.names if a.name not in otus_core.__all__)
        elif isinstance(node, ast.Import):
            yield from ((a.name, node.lineno) for a in node.names if a.name.startswith("otus_core."))


def _says(declared: Declaration) -> Complaints:
    if not declared.summary:
        yield Warned("it has no summary")
    elif len(declared.summary) > SUMMARY_MAX or "\n" in declared.summary:
        yield Warned(f"its summary is not one line of at most {SUMMARY_MAX} characters")
    if isinstance(declared, Parser):
        for label in (declared.call_label,):
            if label is not None and "." not in label:
                yield f"its call_label {label!r} is not a label, which is named protocol.field"


def _describes(declared: Declaration) -> Complaints:
    for name, described in declared.schemas.items():
        try:
            describe(described.load())
        except (ImportError, AttributeError, NameError, TypeError) as error:
            yield f"schemas[{name!r}]: {tell(error)}"


def _configures(declared: Declaration) -> Complaints:
    cls = declared.load_config()
    fields = fields_of(cls)
    schema(cls)
    text = sample(cls)
    if not any(field.required for field in fields) and (defaults := _make_defaults(cls)) is not None:
        read: Any = structure(cls, load_text(text) or {})
        if read != defaults:
            yield f"its sample does not read back as its defaults{_name_changes(cls, read)}"
        read = structure(cls, unstructure(defaults))
        if read != defaults:
            yield f"its defaults do not pass its own validation unchanged{_name_changes(cls, read)}"
    for field in fields:
        if not field.option.help:
            yield Warned(f"option {field.key} has no help")
    if fields and "__setattr__" not in vars(cls):
        yield Warned("its configuration class is not frozen: make it with @otus_core.configuration")


def _make_defaults(cls: type) -> object | None:
    """Give the configuration that nothing is set in, ``None`` where one of several options has to be."""
    try:
        return cls()  # type: ignore[no-any-return]
    except ConfigInvalid:
        return None


def _name_changes(cls: type, read: Any) -> str:
    """Say which options differ from their defaults."""
    triples = [(field.key, getattr(cls(), field.key), getattr(read, field.key)) for field in fields_of(cls)]
    changed = [f"{key} is {now!r} instead of {default!r}" for key, default, now in triples if now != default]
    return f": {', '.join(changed)}" if changed else ""


def main() -> None:
    """Look at the plugin that ``sys.argv`` names, and write what is found as JSON."""
    plugin, distribution, taken = sys.argv[1:]
    sys.stdout.write("\n" + json.dumps(findings(plugin, distribution, taken.split(","))) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a plugin's threads are not waited for
