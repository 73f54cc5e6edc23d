"""``otus schema``: JSON Schemas, for editors, for whoever makes task files, and for whoever reads what Otus reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otus_core.cli.session import session_of
from otus_core.errors import OtusError, closest

if TYPE_CHECKING:
    from otus_core.plugins.registry import Registry

FILES = {
    "task": "a task file, with the options of every installed plugin",
    "config": "the daemon's configuration file, with the sections of every installed plugin",
}
EXPLAINED = 300
"""Characters of a plugin's error."""


def schema(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="task, config, message, or a payload type such as call.")
    ] = None,
) -> None:
    """Print a JSON Schema (draft 2020-12): of a file, or of what Otus reports. Without a name, list them all.

    otus schema call
    otus schema task > task.schema.json
    """
    session = session_of(context)
    if name is None:
        _list(session.registry, as_json=session.json_output)
    else:
        typer.echo(json.dumps(_schema(name, session.registry), indent=2))


def _schema(name: str, registry: Registry) -> dict[str, Any]:
    """Give one schema. Raises OtusError for a name that there is not, and for a class that cannot be described."""
    if name == "task":
        from otus_core.task.schema import task_schema

        return task_schema(registry)
    if name == "config":
        from otus_core.config.shipped import config_schema

        return config_schema(registry.config_sections())
    from otus_core.model.text import printable, tell
    from otus_core.plugins.schemas import documents, write_schema

    found = {one.name: one for one in documents(registry)}
    if name not in found:
        close = closest(name, [*FILES, *found])
        hint = f"did you mean {close!r}?" if close is not None else "otus schema lists them all"
        raise OtusError(f"there is no schema {printable(name, 60)!r}; {hint}")
    try:
        return write_schema(found[name])
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's own module is imported
        raise OtusError(f"{found[name].source} does not describe {name!r} soundly: {tell(error, EXPLAINED)}") from None


def _list(registry: Registry, *, as_json: bool) -> None:
    from otus_core.model.table import Column, table_lines
    from otus_core.plugins.schemas import documents

    rows = [(name, "", "otus-core", about) for name, about in FILES.items()]
    rows += [(one.name, str(one.version), one.source, one.about) for one in documents(registry)]
    if as_json:
        names = ("name", "version", "distribution", "about")
        typer.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows]))
        return
    columns = (Column("name"), Column("version"), Column("distribution"), Column("what it describes"))
    for line in table_lines(columns, rows):
        typer.echo(line)
