"""``otus schema``: JSON Schemas, for editors and for whoever makes task files."""

from __future__ import annotations

import json

import typer

from otus_core.cli.session import session_of

app = typer.Typer(no_args_is_help=True, help="Print a JSON Schema (draft 2020-12).")


@app.command("task")
def task(context: typer.Context) -> None:
    """Print the schema of a task file, with the options of every installed plugin."""
    from otus_core.task.schema import task_schema

    typer.echo(json.dumps(task_schema(session_of(context).registry), indent=2))


@app.command("config")
def config(context: typer.Context) -> None:
    """Print the schema of the daemon's configuration file, with the sections of every installed plugin."""
    from otus_core.config.shipped import config_schema

    typer.echo(json.dumps(config_schema(session_of(context).registry.config_sections()), indent=2))
