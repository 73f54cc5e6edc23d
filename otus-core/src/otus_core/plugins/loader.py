"""Takes every installed plugin from found to ready, one by one, each stage inside a fault boundary.

In: the entry points of the group ``otus.plugins``. Out: a ``Registry``. A plugin that fails, whatever it raises, is one
record in it, and costs nobody else.

found → version (its ``Requires-Dist: otus-core…``, before anything of it is imported) → import → register → validate →
conflict → ready; or disabled, and then never imported. A component whose name ``prefer`` gives to another distribution
is disabled too.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import pluggy

import otus_core
from otus_core import hookspecs
from otus_core.declarations import KINDS, Declaration, SharedConfig
from otus_core.errors import closest
from otus_core.hookspecs import PROJECT
from otus_core.model.text import words_of
from otus_core.plugins import builtin
from otus_core.plugins.conflicts import settle
from otus_core.plugins.discovery import CORE, CORE_RECORD, disable, find_plugins, killer, leave_out
from otus_core.plugins.installed import Entry
from otus_core.plugins.metadata import metadata_of
from otus_core.plugins.records import ComponentRecord, PluginRecord, Stage, fail
from otus_core.plugins.registry import Loaded, Registry
from otus_core.plugins.selection import Selection, normalize

COMPONENTS_MAX = 64
"""A plugin has a handful; a generator without end would keep the daemon from starting."""
COMPARE = {">=": operator.ge, "<=": operator.le, "<": operator.lt, ">": operator.gt}
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("otus_"))


class _Refused(Exception):
    """A plugin does not pass a stage."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


def load(selection: Selection | Mapping[str, Any] | None = None, *, probe: bool = False) -> Registry:
    """Load every installed plugin that the selection (or its ``plain()``) wants. Never raises for a plugin's sake.

    With ``probe`` third-party plugins are imported in a process of their own first, unless it is known what comes of
    it: one that hangs or ends the process is not imported here. The registry's ``selection`` tells other processes.
    """
    if not isinstance(selection, Selection):
        selection = Selection(**(selection or {}))
    plugins, damaged = find_plugins()
    if probe:
        from otus_core.plugins.survey import deadly

        selection = attrs.evolve(selection, deadly={**selection.deadly, **deadly(plugins, selection)})
    loaded = [take_through(CORE_RECORD, None), *(Loaded(record=record) for record in damaged)]
    loaded += [_load_one(record, entry, selection) for record, entry in plugins]
    settled = settle([one.record for one in loaded], selection.prefer)
    return Registry([attrs.evolve(one, record=r) for one, r in zip(loaded, settled, strict=True)], selection)


def _load_one(record: PluginRecord, entry: Entry, selection: Selection) -> Loaded:
    # Before the import: a plugin that is disabled, or known to end the process, must not run a line.
    refused = disable(record, selection) or killer(record, selection.deadly)
    return take_through(record, entry) if refused is None else Loaded(record=refused)


def take_through(record: PluginRecord, entry: Entry | None) -> Loaded:
    """Take one plugin (the core's own without entry point) through its stages.

    This is the fault boundary: plugins raise anything, SystemExit and errors of no known kind included.
    """
    stage: Stage = "version"
    try:
        if entry is not None:
            _check_version(entry)
        stage = "import"
        plugin = builtin if entry is None else entry.load()
        stage = "register"
        manager = _register(plugin, record.plugin)
        stage = "validate"
        _check_hooks(manager, plugin)
        declared = _declarations(manager)
    except _Refused as refused:
        return Loaded(record=fail(record, stage, str(refused), refused.remedy))
    # Ctrl-C is the user's, and no fault of the plugin that happens to be imported.
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Loaded(record=fail(record, stage, _describe(error), _remedy(stage, error, record)))
    components = tuple(ComponentRecord(declaration=one) for one in declared if isinstance(one, Declaration))
    shared = tuple(one for one in declared if isinstance(one, SharedConfig))
    return Loaded(record=attrs.evolve(record, stage="ready", components=components, shared=shared), manager=manager)


def _describe(error: BaseException) -> str:
    """Name an error in one line."""
    if isinstance(error, pluggy.PluginValidationError):
        from otus_core.plugins.component_hooks import argument_fault  # seldom needed

        return argument_fault(error)
    return words_of(error)


def _remedy(stage: Stage, error: BaseException, record: PluginRecord) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"install what brings {error.name}, or {record.distribution} once more from where it came from"
    if isinstance(error, pluggy.PluginValidationError):
        return "give the hook only the arguments that otus_core.hookspecs declares for it"
    if stage == "import":
        return leave_out(record)
    return f"correct it: otus plugins check {record.plugin}"


def _check_version(entry: Entry) -> None:
    """Compare what the distribution requires of otus-core with what is here. Raises _Refused."""
    about = metadata_of(entry.dist)
    for text in about.requires:
        if normalize(text).startswith(CORE) and not _is_met(text):
            wanted = normalize(text.partition(";")[0]).strip()
            remedy = f"install a version of {about.name} made for {CORE} {otus_core.__version__}, or that {CORE}"
            raise _Refused(f"it needs {wanted}, and this is {CORE} {otus_core.__version__}", remedy)


def _is_met(text: str) -> bool:
    """Whether a requirement that begins with our name is met, or is not for us.

    Raises _Refused when it cannot be read.
    """
    bounds, ours = _bounds(text), _release(otus_core.__version__)
    if bounds is not None and ours is not None:
        return all(COMPARE[how](ours, version) for how, version in bounds)
    from packaging.requirements import InvalidRequirement, Requirement  # takes as long as loading five plugins

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = f"its requirement {text!r} cannot be read: {' '.join(str(error).split())}"
        raise _Refused(reason, "ask its authors to correct it") from None
    if normalize(requirement.name) != CORE:
        return True
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return True
    return requirement.specifier.contains(otus_core.__version__, prereleases=True)


def _bounds(text: str) -> list[tuple[str, list[int]]] | None:
    """Read ``otus-core>=0.1,<0.2``, the form that everybody is told to write; ``None`` for other forms, which are left
    to packaging.
    """
    if not text.startswith(CORE):
        return None
    rest = text.removeprefix(CORE)
    if rest.startswith("["):  # extras: otus-core[bpf]
        rest = rest.partition("]")[2]
    bounds = []
    for bound in rest.strip(" ()").split(","):
        how = bound.strip()[: 2 if "=" in bound else 1]
        version = _release(bound.strip().removeprefix(how).strip())
        if how not in COMPARE or version is None:
            return None
        bounds.append((how, version))
    return bounds


def _release(version: str) -> list[int] | None:
    """Give a plain version's numbers, ``None`` for another version; trailing zeros mean nothing."""
    parts = version.split(".")
    # isdigit() alone takes ² and Arabic digits, which int() reads or refuses.
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        return None
    numbers = [int(part) for part in parts]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers


def _register(plugin: object, name: str) -> pluggy.PluginManager:
    """Give a manager that holds this plugin alone, so that one plugin's hook never stops another's.

    Raises PluginValidationError.
    """
    manager = pluggy.PluginManager(PROJECT)
    # First: pluggy checks the arguments of hooks against their specification when a plugin is registered.
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name)
    return manager


def _check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Refuse hooks that nobody calls: those that do not exist, and those that lack the mark. Raises _Refused."""
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        if not caller.has_spec():
            raise _Refused(f"there is no hook {caller.name!r}", _suggest_hook(caller.name))
    marked = {caller.name for caller in callers}
    for name in HOOKS:
        if name not in marked and inspect.isroutine(getattr(plugin, name, None)):
            raise _Refused(f"{name} is not marked as a hook", "put @otus_core.hookimpl above it")
    if not marked:
        where = getattr(plugin, "__name__", type(plugin).__name__)
        raise _Refused(f"{where} implements no hook", "implement otus_components, marked @otus_core.hookimpl")


def _suggest_hook(name: str) -> str:
    close = closest(name, HOOKS)
    return f"did you mean {close}?" if close is not None else f"the hooks are {', '.join(HOOKS)}"


def _declarations(manager: pluggy.PluginManager) -> list[Declaration | SharedConfig]:
    """Collect what the plugin declares. Raises _Refused, and whatever the plugin raises."""
    declared: dict[tuple[str, str], Declaration | SharedConfig] = {}
    for answer in manager.hook.otus_components():
        if not isinstance(answer, Iterable):
            raise _Refused(f"otus_components gave {answer!r}", "yield declarations, or return a list of them")
        for declaration in answer:
            if isinstance(declaration, SharedConfig):
                key = ("shared configuration", declaration.name)
            else:
                _check_declaration(declaration)
                key = (declaration.kind, declaration.name)
            if key in declared:
                raise _Refused(f"it declares {key[0]} {key[1]!r} twice", "give each component a name of its own")
            declared[key] = declaration
            if len(declared) > COMPONENTS_MAX:
                raise _Refused(f"it declares more than {COMPONENTS_MAX} components", "declare fewer")
    return list(declared.values())


def _check_declaration(declaration: object) -> None:
    if not isinstance(declaration, Declaration) or type(declaration).kind not in KINDS:
        names = ", ".join(kind.__name__ for kind in KINDS.values())
        raise _Refused(f"otus_components gave {declaration!r}, not a declaration", f"yield otus_core's {names}")
