"""The application: global options, commands looked up when they are used, and answers of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import typer.core
import typer.main

import otus_core
from otus_core.cli.commands import COMMANDS, Entry
from otus_core.cli.help import help_page, keep_examples
from otus_core.cli.output import OutputClosed, wants_json
from otus_core.cli.session import session_of
from otus_core.errors import OtusError, closest
from otus_core.plugins.known import component_beside

PROGRAM = "otus"
UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # click's own; newer typers carry their own click
CLICK_SUGGESTS = any(error.__name__ == "NoSuchCommand" for error in UsageError.__subclasses__())
"""Click itself tells near commands since 8.4; typer would tell them once more."""
VALUED = ("--config", "-c", "--socket", "--output", "--no-plugin")
FLAGS = ("--safe",)
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class WrongUsage(OtusError):
    """The command line is wrong, and whoever wrote it wants to be told in JSON."""

    exit_status = 2


class OtusGroup(typer.core.TyperGroup):
    """The top level: the table's commands, then those of plugins."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Give every command's name, plugins' last."""
        return [*COMMANDS, *_plugin_commands(ctx)]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Import and give one command."""
        entry = COMMANDS.get(cmd_name) or _plugin_commands(ctx).get(cmd_name)
        return None if entry is None else _import_command(cmd_name, entry)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Find the command that the arguments name, or suggest one."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            _tell_what_brings(args[0], ctx)
            close = closest(args[0], self.list_commands(ctx))
            hint = f"did you mean {close!r}?" if close is not None else "otus --help lists them all"
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def get_help_option(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Give the option ``--help``, which waits for those before it: they say which plugins are wanted."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.is_eager = False
        return option

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise OutputClosed from None

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the help page, without importing a command and without rich, which takes longer than all the rest."""
        formatter.write(help_page(_plugin_commands(ctx)))


app = typer.Typer(
    cls=OtusGroup,
    name=PROGRAM,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=SETTINGS,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"otus {otus_core.__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", "-c")] = None,
    socket: Annotated[Path | None, typer.Option("--socket")] = None,
    output: Annotated[Literal["text", "json"], typer.Option("--output")] = "text",
    no_plugin: Annotated[list[str] | None, typer.Option("--no-plugin")] = None,
    safe: Annotated[bool, typer.Option("--safe")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """Otus captures packets, understands SIP, and reports what it saw."""
    session_of(context)


def run_app(arguments: Sequence[str]) -> int:
    """Run the application; returns the exit status. Raises OtusError and what commands raise."""
    command = typer.main.get_command(app)
    try:
        status = command.main(args=hoist(arguments), prog_name=PROGRAM, standalone_mode=False)
    except UsageError as error:
        if wants_json(arguments):
            raise WrongUsage(error.format_message()) from None  # type: ignore[attr-defined]
        error.show()  # type: ignore[attr-defined]
        return int(getattr(error, "exit_code", 2))
    except typer.Abort:
        raise OtusError("aborted") from None
    return status if isinstance(status, int) else 0


def hoist(arguments: Sequence[str]) -> list[str]:
    """Move the global options to the front, so that they may stand after the command as well: ``otus status --output
    json``.
    """
    front: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        # What follows belongs to the command, also where it looks like an option (POSIX, Utility Syntax Guideline 10).
        if argument == "--":
            return [*front, *rest, argument, *left]
        # Whatever follows is its value, also where it looks like an option: click reads it the same way.
        if argument in VALUED and left:
            front += [argument, left.pop(0)]
        elif argument in FLAGS or argument.partition("=")[0] in VALUED:
            front.append(argument)
        else:
            rest.append(argument)
    return [*front, *rest]


def _plugin_commands(ctx: typer.Context) -> dict[str, Entry]:
    """Give what plugins add; their light modules are imported, not their commands."""
    session = session_of(ctx)
    return session.plugin_commands


def _tell_what_brings(name: str, ctx: typer.Context) -> None:
    """Fail with what to install, or why the plugin cannot be used, when it is a first-party plugin's command."""
    beside = component_beside(name)
    if beside is None:
        return
    from otus_core.plugins.missing import why_missing

    records = session_of(ctx).survey.records
    if not any((c.kind, c.name, c.stage) == (*beside, "ready") for record in records for c in record.components):
        ctx.fail(f"the command {name!r} comes with a plugin: {why_missing(records, *beside, ())}")


@cache
def _import_command(name: str, entry: Entry) -> Any:
    """Import a command and make it one that the application can call.

    Raises OtusError for a plugin's that cannot be imported.
    """
    module, _, attribute = entry.target.partition(":")
    try:
        target = getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:
        if name in COMMANDS:
            raise
        raise OtusError(f"the command {name} cannot be used: {type(error).__name__}: {error}") from error
    if isinstance(target, typer.Typer):
        target.pretty_exceptions_enable = False
        target.rich_markup_mode = None  # click draws the page: importing rich takes longer than all the rest
        command = typer.main.get_group(target)
        command.suggest_commands = not CLICK_SUGGESTS
    else:
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        single.command(name)(target)
        command = typer.main.get_command(single)  # type: ignore[assignment]
    command.name = name
    command.context_settings = SETTINGS
    for one in (command, *getattr(command, "commands", {}).values()):
        one.help = keep_examples(one.help or "")
    return command
