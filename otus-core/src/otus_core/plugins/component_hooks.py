"""Hooks that a component receives itself, besides its plugin's module: it knows its connections, the
module does not.
"""

from __future__ import annotations

import pluggy

from otus_core import hookspecs
from otus_core.errors import PluginInitFailed
from otus_core.hookspecs import PROJECT
from otus_core.model.text import words_of

COMPONENT_HOOKS = ("otus_task_state_changed",)
"""The others are about a process or a plugin as a whole; a component has ``start`` and ``stop``."""
MARK = f"{PROJECT}_impl"
"""What ``hookimpl`` leaves on a function (pluggy's HookimplMarker)."""


class _Hooks:
    """A component's marked methods and nothing else: looking for them on the component itself would evaluate its
    properties.
    """


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
        raise PluginInitFailed(f"{cls.__name__}: {words_of(error)}") from None
    return manager
