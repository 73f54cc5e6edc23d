"""``otus daemon``, and the commands that talk to it: ``stop``, ``reload``, ``status``, ``stats``, ``task``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from otus_core.errors import ConfigInvalid, OtusError, RequestRefused
from otus_core.model.text import printable

task_app = typer.Typer(help="Create, show, start and delete the daemon's tasks.", no_args_is_help=True)

WATCH_EVERY_S = 1.0
"""The counters behind it change twice a second."""


def daemon(
    ctx: typer.Context,
    daemonize: Annotated[
        bool, typer.Option("--daemonize", help="Go to the background when the daemon is ready.")
    ] = False,
) -> None:
    """Run the daemon, which keeps capture tasks running. It stays in the foreground unless --daemonize is given.

    The global options --config FILE, --socket PATH, --no-plugin NAME and --safe set it up.
    """
    from otus_core.cli.service import run_daemon

    options = _options(ctx)
    run_daemon(options.config, options.socket, options.no_plugin, options.safe, daemonize)


def stop(ctx: typer.Context) -> None:
    """Stop the daemon; its tasks come back when it is started again."""
    _show(ctx, _call(ctx, "daemon_shutdown"), "stopping")


def reload(ctx: typer.Context) -> None:
    """Have the daemon read its configuration again. A faulty file changes nothing."""
    result = _call(ctx, "config_reload")
    changed = ", ".join(result["changed"]) or "nothing"
    later = ", ".join(result["needs_restart"])
    text = f"reloaded: {changed} changed" + (f"; needs a restart: {later}" if later else "")
    anew = [task_id for task_id in result["tasks_started_anew"] if task_id not in result["tasks_applied"]]
    text += "".join(f"\ntask {task_id} is started anew" for task_id in anew)
    text += "".join(f"\ntask {task_id} {what}" for task_id, what in result["tasks_applied"].items())
    text += "".join(f"\nrefused: {printable(problem)}" for problem in result["task_files_refused"])
    _show(ctx, result, text)
    if result["task_files_refused"]:
        raise typer.Exit(1)


def status(
    ctx: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; only the exit status tells.")] = False,
    alive: Annotated[
        bool, typer.Option("--alive", help="Ask only whether the daemon answers, no matter what else is down.")
    ] = False,
) -> None:
    """Show version, uptime, tasks, plugins and command channels of the daemon, and what is down, with the reason.

    Exit status 0: nothing is down. 1: a task has failed or is degraded (its interface is gone, a worker is dead, a
    destination does not answer, a component is cut off, a send buffer is nearly full), a command channel is down, or a
    task file was refused; or the daemon does not answer within 30 s. 3: no daemon runs.

    With --alive the exit status is 0 whenever the daemon answers. Use it for probes that restart the daemon, because a
    new process does not bring back a broker.
    """
    from otus_core.cli.tables import alive_text, status_text

    try:
        result = _ask_status(ctx, alive)
    except OtusError as error:
        if quiet:
            raise typer.Exit(error.exit_status) from None
        raise
    if not quiet:
        _show(ctx, result, alive_text(result) if alive else status_text(result))
    if result.get("troubles"):  # not asked for with --alive
        raise typer.Exit(1)


def _ask_status(ctx: typer.Context, alive: bool) -> dict[str, Any]:
    """Ask the daemon how it is.

    Where only an answer counts, one that tells of an error is an answer too. Raises OtusError.
    """
    try:
        result: dict[str, Any] = _call(ctx, "daemon_status")
    except RequestRefused:
        if not alive:
            raise
        return {}
    return {key: result[key] for key in ("version", "uptime_sec")} if alive else result


def stats(
    ctx: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Repeat every second; as JSON, one line each time.")
    ] = False,
) -> None:
    """Show packet rates, drops and queue levels of each task."""
    from otus_core.cli.tables import stats_text
    from otus_core.process.terminal import terminal_columns

    clear = "\x1b[H\x1b[2J" if watch and sys.stdout.isatty() else ""
    while True:
        result = _call(ctx, "daemon_stats")
        _show(ctx, result, clear + stats_text(result, terminal_columns()), one_line=watch)
        if not watch:
            return
        sys.stdout.flush()
        time.sleep(WATCH_EVERY_S)


@task_app.command("create")
def task_create(
    ctx: typer.Context,
    file: Annotated[str, typer.Option("--file", "-f", help="The task file, YAML or JSON; - is standard input.")],
) -> None:
    """Create a task from a file, and start it."""
    from otus_core.task.config import read_task_file

    result = _call(ctx, "task_create", {"config": read_task_file(file)}, timeout=90.0)
    _show(ctx, result, f"task {result['task_id']} created")


@task_app.command("apply")
def task_apply(
    ctx: typer.Context,
    path: Annotated[Path, typer.Option("--file", "-f", help="A task file, or a folder of them; - is standard input.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Also delete tasks of an earlier apply whose file is gone.")
    ] = False,
) -> None:
    """Create tasks from files, and change tasks that differ from their file.

    Tasks that already are as their file says are left alone. A changed live task is started before the old one is
    stopped, so that no packet is missed; packets of that moment may be reported twice. Every file is read before
    anything is done. If one task is refused, the others are applied all the same.
    """
    from otus_core.task.files import list_task_files, read_task_files

    files, problems = read_task_files(list_task_files(path))
    if problems:
        raise ConfigInvalid(problems)
    done: list[dict[str, Any]] = []
    refused = False
    for file in files:
        try:
            done.append(_call(ctx, "task_apply", {"config": file.data}, timeout=180.0))
        except RequestRefused as error:
            refused = True
            done.append({"task_id": file.id, "status": "refused", "file": str(file.path), "reason": str(error)})
    if prune:
        deleted = _call(ctx, "task_prune", {"keep": [file.id for file in files]}, timeout=180.0)
        done += [{"task_id": task_id, "status": "deleted"} for task_id in deleted["deleted"]]
    _show(ctx, {"tasks": done}, "\n".join(_describe_outcome(one) for one in done) or f"{path}: no task files")
    if refused:
        raise typer.Exit(1)


def _describe_outcome(one: dict[str, Any]) -> str:
    reason = one.get("reason", "").replace("\n", f"\n  {one['task_id']}: ")
    return f"task {one['task_id']} {one['status']}" + (f" ({one['file']}): {reason}" if reason else "")


@task_app.command("start")
def task_start(ctx: typer.Context, task_id: Annotated[str, typer.Argument(help="Id of the task.")]) -> None:
    """Start a task that is stopped, or try a failed one again at once."""
    result = _call(ctx, "task_start", {"task_id": task_id}, timeout=90.0)
    _show(ctx, result, f"task {result['task_id']} runs")


@task_app.command("delete")
def task_delete(
    ctx: typer.Context,
    task_id: Annotated[str, typer.Argument(help="Id of the task.")],
    discard: Annotated[bool, typer.Option("--discard", help="Also remove the messages that wait on disk.")] = False,
) -> None:
    """Stop a task and delete it. Messages that wait on disk in its spools remain there unless --discard is given."""
    result = _call(ctx, "task_delete", {"task_id": task_id, **({"discard": True} if discard else {})}, timeout=90.0)
    lines = [f"task {result['task_id']} deleted", *map(_remains, result.get("spools", ()))]
    _show(ctx, result, "\n".join(lines))


def _remains(spool: dict[str, Any]) -> str:
    """Say what remains in a spool, or was discarded."""
    held = f"{spool['messages']} messages, {spool['bytes']} bytes"
    if spool["discarded"]:
        return f"  discarded {spool['path']}: {held}"
    return f"  {spool['path']} holds {held}: they stay, and a task with a spool of this path sends them"


@task_app.command("show")
def task_show(ctx: typer.Context, task_id: Annotated[str, typer.Argument(help="Id of the task.")]) -> None:
    """Print the configuration of a task as it was created, with secrets covered; it can be edited and created again."""
    from otus_core.config.dump import dump_yaml

    result = _call(ctx, "task_get", {"task_id": task_id})
    _show(ctx, result, dump_yaml(result["config"]).rstrip("\n"))


@task_app.command("list")
def task_list(
    ctx: typer.Context,
    history: Annotated[bool, typer.Option("--history", help="Also show tasks that have ended.")] = False,
) -> None:
    """List the tasks and their states."""
    from otus_core.cli.tables import tasks_text

    result = _call(ctx, "task_status")
    shown = {**result, "ended": result["ended"] if history else []}
    answer = shown if history else {"tasks": [t["task_id"] for t in result["tasks"]], "count": result["count"]}
    _show(ctx, answer, tasks_text(shown))


@task_app.command("status")
def task_status(
    ctx: typer.Context,
    task_id: Annotated[str | None, typer.Argument(help="Id of the task (default: all tasks).")] = None,
) -> None:
    """Show the state and the counters of one task, or of all."""
    from otus_core.cli.tables import task_text, tasks_text

    result = _call(ctx, "task_status", {} if task_id is None else {"task_id": task_id})
    _show(ctx, result, tasks_text(result) if task_id is None else task_text(result))


def _options(ctx: typer.Context) -> Any:
    return ctx.obj


def _call(ctx: typer.Context, method: str, params: dict[str, Any] | None = None, timeout: float = 30.0) -> Any:
    """Call the daemon at the socket that the options, the environment or the configuration name."""
    from otus_core.config.effective import socket_path
    from otus_core.control.client import call

    options = _options(ctx)
    return call(options.socket or socket_path(options.config), method, params, timeout)


def _show(ctx: typer.Context, result: Any, text: str, *, one_line: bool = False) -> None:
    if _options(ctx).output == "json":
        import json

        text = json.dumps(result, indent=None if one_line else 1)
    typer.echo(text)
