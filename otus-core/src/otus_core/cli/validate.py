"""``otus validate``: checks a file and tells everything that is wrong with it, each with its path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otus_core.cli.session import session_of
from otus_core.task.config import ComponentSpec, TaskConfig, load_task, read_task_file


def validate(
    context: typer.Context,
    file: Annotated[Path, typer.Option("--file", "-f", help="Task file, YAML or JSON; - is stdin.", metavar="FILE")],
) -> None:
    """Check a task file against the installed plugins.

    Nothing is started and no interface is opened. Exit status 2 when something is wrong.
    """
    session = session_of(context)
    source = "standard input" if str(file) == "-" else str(file)
    config = load_task(read_task_file(file), session.registry, source=source)
    if session.json_output:
        import json

        typer.echo(json.dumps({"valid": True, "task_id": config.id}))
        return
    parts = [
        f"capture {config.capture.id}",
        *(f"{kind} {', '.join(spec.id for spec in specs)}" for kind, specs in _lists(config) if specs),
    ]
    typer.echo(f"{source}: task {config.id} is valid: {'; '.join(parts)}")


def _lists(config: TaskConfig) -> tuple[tuple[str, tuple[ComponentSpec, ...]], ...]:
    return (("parsers", config.parsers), ("processors", config.processors), ("reporters", config.reporters))
