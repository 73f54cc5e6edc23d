"""``otus validate``: checks a file and tells everything that is wrong with it, each with its path."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otus_core.cli.session import Session, session_of

if TYPE_CHECKING:
    from otus_core.task.spec import ComponentSpec, TaskConfig


def validate(
    context: typer.Context,
    file: Annotated[
        Path, typer.Option("--file", "-f", help="The file, YAML or JSON; - is standard input.", metavar="FILE")
    ],
) -> None:
    """Check a task file, or the daemon's configuration file, against the installed plugins.

    A file with the top-level key otus is taken for a configuration, any other for a task. With --config FILE
    a task is checked with that daemon's defaults, as `otus task create` does it. The capture filter is
    compiled. What only this machine lacks (CPUs, the interface, a file) is a warning. Nothing is started and no
    interface is opened. The exit status is 2 if something is wrong.
    """
    from otus_core.config.effective import is_configuration
    from otus_core.config.load import load_file

    session = session_of(context)
    source = "standard input" if str(file) == "-" else str(file)
    data = load_file(file)
    if is_configuration(data):
        _configuration(data, session, source, None if str(file) == "-" else file)
    else:
        _task(data, session, source)


def _configuration(data: Any, session: Session, source: str, path: Path | None) -> None:
    from otus_core.config.effective import channel_settings, effective_from

    effective = effective_from(data, source, os.environ, session.registry.config_sections(), path)
    channel = effective.config.command_channel
    if channel.enabled:
        declaration = session.registry.component("command_channel", channel.type).declaration
        channel_settings(effective.config, declaration.load_config(), source)
    if session.json_output:
        about = {"hostname": effective.hostname, "ip": effective.ip, "warnings": effective.warnings}
        typer.echo(json.dumps({"valid": True, **about}))
        return
    for warning in effective.warnings:
        typer.echo(f"{source}: warning: {warning}", err=True)
    typer.echo(f"{source}: the configuration is valid: node {effective.hostname}, {effective.ip}")


def _task(data: Any, session: Session, source: str) -> None:
    from otus_core.task.check import check_filter, node_warnings
    from otus_core.task.config import load_task, unwrap
    from otus_core.task.deprecated import find_deprecated
    from otus_core.task.secrets import find_exposed_files
    from otus_core.task.sharing import sharing_warnings

    config = load_task(unwrap(data, source), session.registry, session.task_defaults, source)
    check_filter(config, source)
    warnings = [*node_warnings(config), *sharing_warnings(config), *find_deprecated(config)]
    warnings += find_exposed_files(config.source, session.registry)
    if session.json_output:
        typer.echo(json.dumps({"valid": True, "task_id": config.id, "warnings": warnings}))
        return
    for warning in warnings:
        typer.echo(f"{source}: warning: {warning}", err=True)
    parts = [
        f"capture {config.capture.id}",
        *(f"{kind} {', '.join(spec.id for spec in specs)}" for kind, specs in _lists(config) if specs),
    ]
    typer.echo(f"{source}: task {config.id} is valid: {'; '.join(parts)}")


def _lists(config: TaskConfig) -> tuple[tuple[str, tuple[ComponentSpec, ...]], ...]:
    return (("parsers", config.parsers), ("processors", config.processors), ("reporters", config.reporters))
