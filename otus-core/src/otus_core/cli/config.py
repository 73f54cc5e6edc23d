"""``otus config``: the daemon's own configuration."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="The daemon's configuration file.")


@app.callback()
def _group() -> None:
    """The daemon's configuration file."""


@app.command("sample")
def sample() -> None:
    """Print a configuration with every key, what it is for, and its default.

    What a plugin adds under its own name is shown by `otus plugins show NAME --sample`.
    """
    from otus_core.config.shipped import shipped_config

    typer.echo(shipped_config(), nl=False)
