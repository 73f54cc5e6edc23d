"""The rules that a plugin keeps and that need no data to be checked; run in a process that holds this plugin alone.

    python -P -c "from otus_core.plugins.contract import main; main()" ENTRY_POINT DISTRIBUTION

writes its findings as JSON, the last line of standard output. A rule is a generator of complaints; one that complains
of nothing is kept.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import importlib_metadata

import otus_core
from otus_core.components import BaseParser, Context
from otus_core.config.load import load_text
from otus_core.config.sample import sample
from otus_core.config.schema import schema
from otus_core.config.shape import fields_of
from otus_core.config.structure import structure
from otus_core.config.unstructure import unstructure
from otus_core.declarations import Capturer, CommandChannel, Declaration, Parser
from otus_core.errors import ConfigInvalid
from otus_core.model.flows import FlowRegistry
from otus_core.model.text import told
from otus_core.plugins.component_hooks import CALLS, CALLS_MAX_S, hooks_of, seconds_of, strange_hooks
from otus_core.plugins.loader import load
from otus_core.plugins.records import PluginRecord
from otus_core.plugins.selection import Selection, normalized

METHODS = {
    "capturer": ("open", "read", "fileno", "stats", "close"),
    "parser": ("wire", "start", "stop", "can_handle", "handle"),
    "processor": ("wire", "start", "stop", "process"),
    "reporter": ("wire", "start", "stop", "report", "flush"),
    "command_channel": ("start", "stop", "status"),
}
ASYNCHRONOUS = {"reporter": ("start", "stop", "report", "flush"), "command_channel": ("start", "stop")}
ARGUMENTS = {
    "take": 1,
    "can_handle": 1,
    "handle": 1,
    "process": 1,
    "report": 1,
    "wire": 1,
    "read": 0,
    "flush": 0,
    "stop": 0,
}
HEARERS = ("reporter", "command_channel")
"""Kinds of components that receive hooks."""
SUMMARY_MAX = 100


class Warned(str):
    """A complaint that is not a breach."""

    __slots__ = ()


Complaints = Iterator[str]


class _Nowhere:
    """Takes the lines of reporters that are made to be looked at."""

    isatty = False

    async def write(self, lines: bytes) -> None:
        """Forget them."""


def findings(plugin: str, distribution: str) -> list[dict[str, str]]:
    """Load one plugin and give what each rule has to say of it."""
    record = _loaded(plugin, distribution)
    if record.stage == "conflict" or record.state != "ready":
        told = f"{record.stage}: {record.reason}; {record.remedy}"
        return [{"rule": "loads", "status": "failed", "message": told}]
    found = [{"rule": "loads", "status": "passed", "message": ""}]
    found += _held(
        "declares its component's module as text, so that listing it imports none", partial(_is_light, record)
    )
    found += _held("bounds the otus-core that it needs", partial(_requires, distribution))
    found += _held("imports nothing below otus_core itself", partial(_imports, distribution))
    for component in record.components:
        declared = component.declaration
        name = f"{declared.kind} {declared.name}"
        found += _held(f"{name}: says what it is", partial(_says, declared))
        found += _held(f"{name}: its configuration can be shown, sampled and read back", partial(_configures, declared))
        found += _held(f"{name}: is made by its factory, and lives and ends as it should", partial(_lives, declared))
    return found


def _loaded(plugin: str, distribution: str) -> PluginRecord:
    registry = load(Selection(enabled=(plugin,)))
    for record in registry.records:
        if (record.plugin, normalized(record.distribution)) == (plugin, normalized(distribution)):
            return record
    return PluginRecord(plugin=plugin, distribution=distribution, version="", reason="it is not installed")


def _held(rule: str, complain: Callable[[], Complaints]) -> list[dict[str, str]]:
    """Hold a plugin to one rule; its code may raise anything, and that is a breach."""
    try:
        complaints = list(complain())
    except BaseException as error:
        complaints = [told(error)]
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
    ours = [r for r in requirements if normalized(r.name) == "otus-core" and r.marker is None]
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
        if e.dist and normalized(e.dist.name) == normalized(distribution)
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


def _configures(declared: Declaration) -> Complaints:
    cls = declared.load_config()
    fields = fields_of(cls)
    schema(cls)
    text = sample(cls)
    if not any(field.required for field in fields):
        if structure(cls, load_text(text) or {}) != cls():
            yield "its sample does not read back as its defaults"
        if structure(cls, unstructure(cls())) != cls():
            yield "its defaults do not pass its own validation unchanged"
    for field in fields:
        if not field.option.help:
            yield Warned(f"option {field.key} has no help")
    if fields and "__setattr__" not in vars(cls):
        yield Warned("its configuration class is not frozen: make it with @otus_core.configuration")


def _lives(declared: Declaration) -> Complaints:
    factory = declared.load_factory()
    settings = _settings(declared)
    if settings is None:
        yield Warned("it has options without default, and so was not made")
        return
    component = factory(settings)
    wrong = list(_shape(declared.kind, component))
    yield from wrong
    if wrong:
        return
    stdout = _Nowhere() if declared.kind == "reporter" else None
    flows = FlowRegistry() if isinstance(declared, Parser) and declared.wants_flows else None
    component.wire(Context(task_id="check", agent_id="check", component_id=declared.name, stdout=stdout, flows=flows))
    yield from _hooked(declared, component)
    if declared.kind in ("parser", "processor"):  # others would open a source, or connect
        component.start()
        component.stop()
    elif isinstance(declared, CommandChannel):
        json.dumps(dict(component.status()))  # daemon_status shows it, also of a channel that has not started
    elif isinstance(declared, Capturer) and declared.privileged and not callable(getattr(component, "acquire", None)):
        yield "it is declared privileged and has no method acquire"


def _hooked(declared: Declaration, component: Any) -> Complaints:
    """Look at the hooks that a component receives itself. The suite alone calls a reporter's: it starts it."""
    if declared.kind not in HEARERS:
        return
    strange = list(strange_hooks(component))
    yield from strange
    hooks = None if strange else hooks_of(component)
    if hooks is None or not isinstance(declared, CommandChannel):
        return
    if seconds_of(hooks) > CALLS_MAX_S:
        yield f"its hooks are slow: {CALLS} calls take more than {CALLS_MAX_S:g} s; put what is to be sent into a queue"


def _settings(declared: Declaration) -> Any:
    """Give the default settings, ``None`` when there are none."""
    try:
        return structure(declared.load_config(), {})
    except ConfigInvalid:
        return None


def _shape(kind: str, component: Any) -> Complaints:
    names = METHODS[kind]
    if getattr(type(component), "take", BaseParser.take) is not BaseParser.take:
        names = (*(name for name in names if not name.endswith("handle")), "take")
    for name in names:
        method = getattr(component, name, None)
        if not callable(method):
            yield f"it has no method {name}"
            continue
        if inspect.iscoroutinefunction(method) is not (name in ASYNCHRONOUS.get(kind, ())):
            yield f"its method {name} must {'' if name in ASYNCHRONOUS.get(kind, ()) else 'not '}be async"
        if name in ARGUMENTS and not _takes(method, ARGUMENTS[name]):
            yield (
                f"its method {name} must take {ARGUMENTS[name]} argument{'' if ARGUMENTS[name] == 1 else 's'} "
                "beside self"
            )


def _takes(method: Any, count: int) -> bool:
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a compiled method that does not tell
        return True
    return True


def main() -> None:
    """Look at the plugin that ``sys.argv`` names, and write what is found as JSON."""
    sys.stdout.write("\n" + json.dumps(findings(sys.argv[1], sys.argv[2])) + "\n")
