"""The rules about the hooks of a plugin's module, and about the commands that it adds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from typing import Any

import pluggy

from otus_core.declarations import CommandGroup
from otus_core.errors import closest
from otus_core.model.text import tell
from otus_core.plugins.contract_life import Warned

DEPTH_MAX = 4
"""Of groups of commands in groups."""
COMMANDS = "otus_cli_commands"


def wrong_hooks(manager: pluggy.PluginManager | None) -> Iterator[str]:
    """Give complaints of hooks that nobody would wait for, and of names that are nearly a hook's."""
    if manager is None:
        return
    for _, plugin in manager.list_name_plugin():
        for caller in manager.get_hookcallers(plugin) or ():
            if any(inspect.iscoroutinefunction(one.function) for one in caller.get_hookimpls()):
                yield f"{caller.name} must not be async: nobody awaits it"
        hooks = [name for name in vars(manager.hook) if name.startswith("otus_")]
        for name, value in vars(plugin).items() if hasattr(plugin, "__dict__") else ():
            if name.startswith("otus_") and inspect.isfunction(value) and name not in hooks:
                near = closest(name, hooks)
                if near is not None:
                    yield Warned(f"there is no hook {name}; did you mean {near}?")


def wrong_commands(manager: pluggy.PluginManager | None, taken: Collection[str]) -> Iterator[str]:
    """Give complaints of command groups that cannot be used: each is imported, and its help pages are drawn."""
    if manager is None:
        return
    for answer in getattr(manager.hook, COMMANDS)():
        if not isinstance(answer, Mapping):
            yield f"{COMMANDS} gave {answer!r:.80}, not a mapping of names to otus_core.CommandGroup"
            continue
        for name, group in answer.items():
            if not isinstance(name, str) or not isinstance(group, CommandGroup):
                yield f"{COMMANDS} gave {name!r:.80}: {group!r:.80}, not a name and an otus_core.CommandGroup"
            elif name in taken:
                yield f"the command {name!r} is one of Otus itself: take another name"
            else:
                yield from (f"the command {name!r}: {said}" for said in _wrong_group(group))


def _wrong_group(group: CommandGroup) -> Iterator[str]:
    import typer

    module, _, attribute = group.app.partition(":")
    try:
        target: Any = getattr(import_module(module), attribute)
        command = _command_of(target)
    except (Exception, SystemExit) as error:
        yield f"cannot be used: {tell(error, 200)}"
        return
    if command is None:
        yield f"{group.app} is {target!r:.80}, neither a typer.Typer nor a function"
        return
    if not group.summary.strip():
        yield "has no summary"
    yield from _wrong_pages(command, typer.Context(command), 0)


def _command_of(target: Any) -> Any:
    """Give the command that ``otus`` would make of a target, ``None`` for what is none."""
    import typer

    if isinstance(target, typer.Typer):
        target.rich_markup_mode = None
        return typer.main.get_group(target)
    if not isinstance(target, Callable):  # type: ignore[arg-type]
        return None
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command()(target)
    return typer.main.get_command(single)


def _wrong_pages(command: Any, context: Any, depth: int) -> Iterator[str]:
    """Draw the help page of a command, and of those in it."""
    try:
        command.get_help(context)
        names = command.list_commands(context) if hasattr(command, "list_commands") and depth < DEPTH_MAX else ()
        inner = [command.get_command(context, name) for name in names]
    except (Exception, SystemExit) as error:
        yield f"its help page cannot be drawn: {tell(error, 200)}"
        return
    for one in inner:
        yield from _wrong_pages(one, type(context)(one, parent=context), depth + 1)
