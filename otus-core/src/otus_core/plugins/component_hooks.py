"""Hooks that a component receives itself, besides its plugin's module: it knows its connections, the
module does not.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Iterator

import pluggy

from otus_core import hookspecs
from otus_core.errors import PluginInitFailed
from otus_core.hookspecs import PROJECT

CALLS, CALLS_MAX_S = 1000, 1.0
"""So many changes of tasks' states a component takes within this many seconds: it is called where nothing may wait."""
COMPONENT_HOOKS = ("otus_task_state_changed",)
"""The others are about a process or a plugin as a whole; a component has ``start`` and ``stop``."""
MARK = f"{PROJECT}_impl"
"""What ``hookimpl`` leaves on a function (pluggy's HookimplMarker)."""


class _Hooks:
    """A component's marked methods and nothing else: looking for them on the component itself would evaluate its
    properties.
    """


def strange_hooks(component: object) -> Iterator[str]:
    """Give complaints of methods that look like hooks and that nobody would call, or would wait for."""
    import difflib

    cls = type(component)
    for name in dir(cls):
        method = getattr(cls, name, None)
        if not name.startswith(f"{PROJECT}_") or not callable(method):
            continue
        near = difflib.get_close_matches(name, COMPONENT_HOOKS, 1)
        if name in COMPONENT_HOOKS:
            if not hasattr(method, MARK):
                yield f"{cls.__name__}.{name} is not marked with otus_core.hookimpl, and so is never called"
            if inspect.iscoroutinefunction(method):
                yield f"{cls.__name__}.{name} must not be async: nobody awaits it"
        elif hasattr(hookspecs, name):
            yield f"{cls.__name__}.{name}: a component receives only {', '.join(COMPONENT_HOOKS)}"
        elif near:
            yield f"{cls.__name__}.{name}: there is no such hook; did you mean {near[0]}?"


def seconds_of(hooks: pluggy.PluginManager) -> float:
    """Call a component's hooks ``CALLS`` times, or until it is seen that this takes too long; give how long it took."""
    begun = time.monotonic()
    for n in range(CALLS):
        hooks.hook.otus_task_state_changed(task_id=f"t{n % 7}", old="starting", new="failed", reason="why")
        if time.monotonic() - begun > CALLS_MAX_S:
            break
    return time.monotonic() - begun


def argument_fault(error: pluggy.PluginValidationError) -> str:
    """Say which argument of which hook there is not, and which there are; the library's own words name objects."""
    text = " ".join(str(error).split())
    hook, wrong = re.search(r"for hook '(\w+)'", text), re.search(r"Argument\(s\) \{(.*?)\}", text)
    if hook is None or wrong is None:
        return text
    there = inspect.signature(getattr(hookspecs, hook[1])).parameters
    return f"{hook[1]} has no argument {wrong[1]}; it has {', '.join(there) or 'none'}"


def hooks_of(component: object) -> pluggy.PluginManager | None:
    """Give a manager that calls the methods that a component's class marks as hooks, ``None`` where there are none.

    Raises PluginInitFailed for a hook that components do not receive, and for arguments that it does not have.
    """
    cls = type(component)
    names = [name for name in dir(cls) if hasattr(getattr(cls, name, None), MARK)]
    if not names:
        return None
    hooks = _Hooks()
    for name in names:
        if name not in COMPONENT_HOOKS:
            raise PluginInitFailed(f"{cls.__name__}.{name}: a component receives only {', '.join(COMPONENT_HOOKS)}")
        setattr(hooks, name, getattr(component, name))
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(hooks)
    except pluggy.PluginValidationError as error:
        raise PluginInitFailed(f"{cls.__name__}: {argument_fault(error)}") from None
    return manager
