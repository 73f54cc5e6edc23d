"""``otus config``: the daemon's own configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from otus_core.cli.session import session_of

app = typer.Typer(
    no_args_is_help=True,
    help="Print a sample of the daemon's configuration or of a task file, or the configuration that is in force.",
)


@app.callback()
def _group() -> None:
    """The daemon's configuration file."""


@app.command("sample")
def sample(
    context: typer.Context,
    pipeline: Annotated[
        str | None,
        typer.Argument(
            metavar="[PIPELINE]",
            help="Print a task file: CAPTURER/PARSER,PROCESSOR,…/REPORTER,…, such as afpacket/sip,filter/console.",
        ),
    ] = None,
) -> None:
    """Print a sample configuration of the daemon, or a task file to begin with: every key with its purpose and default.

    The blocks that installed plugins share between their components are in the configuration. The options of a reporter
    or a command channel, below its name, are shown by `otus plugins show NAME --sample`.

    A task file is printed for a pipeline such as afpacket/sip,filter/console. It is valid as it is; the keys that may
    be left out are commented out.
    """
    from otus_core.config.shipped import shipped_config
    from otus_core.task.sample import task_sample

    if pipeline is not None:
        typer.echo(task_sample(pipeline, session_of(context).registry), nl=False)
        return
    typer.echo(shipped_config(session_of(context).registry.config_sections()), nl=False)


@app.command("show")
def show(
    context: typer.Context,
    effective: Annotated[
        bool,
        typer.Option(
            "--effective", help="Print every key as it is in force, with defaults, variables and inheritance."
        ),
    ] = False,
) -> None:
    """Print the configuration that --config names, checked, with secrets covered.

    Without --effective only what the file says is printed.
    """
    from otus_core.config.dump import dump_yaml

    session = session_of(context)
    data = _effective(session) if effective else _read_given(session)
    typer.echo(json.dumps(data, indent=1) if session.json_output else dump_yaml(data), nl=session.json_output)


def _effective(session: Any) -> dict[str, Any]:
    from otus_core.config.converter import unstructure
    from otus_core.config.effective import ROOT, load_effective
    from otus_core.config.mask import mask

    sections = session.registry.config_sections()
    found = load_effective(session.config, sections=sections)
    _warn(found.warnings)
    data = mask(unstructure(found.config), type(found.config), sections.classes)
    data["node"].update(hostname=found.hostname, ip=found.ip)
    return {ROOT: data}


def _read_given(session: Any) -> dict[str, Any]:
    from otus_core.config.effective import ROOT, effective_from
    from otus_core.config.load import load_file
    from otus_core.config.mask import mask
    from otus_core.errors import ConfigInvalid

    if session.config is None:
        raise ConfigInvalid("name the file: otus config show --config FILE; --effective shows the defaults without one")
    data = load_file(session.config)
    sections = session.registry.config_sections()
    _warn(effective_from(data, str(session.config), sections=sections, path=session.config).warnings)
    return {ROOT: mask(data[ROOT], sections.config_class(), sections.classes)}


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        typer.echo(f"otus: warning: {warning}", err=True)
