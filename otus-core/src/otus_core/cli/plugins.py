"""``otus plugins``: what is installed, what is broken and why; and the way to a plugin of one's own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otus_core.cli.commands import COMMANDS
from otus_core.cli.listing import BOLD, DIM, PLAIN, RED, listing
from otus_core.cli.session import Session, session_of
from otus_core.cli.wording import say
from otus_core.declarations import KINDS
from otus_core.errors import OtusError, PluginNotFound
from otus_core.process.terminal import is_coloured

if TYPE_CHECKING:
    from otus_core.plugins.registry import Registered

FACTS = {"name", "factory", "config", "summary", "stability", "since", "removed_in", "use_instead"}
"""What is said of a component apart from what it can do."""

app = typer.Typer(no_args_is_help=True, help="List and check plugins, and write a new one.")


@app.command("list")
def list_(
    context: typer.Context,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Show only components of this kind.", metavar="KIND")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON array with an object for each component.")
    ] = False,
    no_import: Annotated[bool, typer.Option("--no-import", help="Read only metadata, and import no plugin.")] = False,
) -> None:
    """List plugins and their components. For a broken one, say why and what to do about it."""
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is not one of {', '.join(KINDS)}", param_hint="--kind")
    session = session_of(context)
    sys.stdout.write(listing(session, kind, as_json=as_json or session.json_output, no_import=no_import))


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Component, as NAME or KIND:NAME.", metavar="NAME")],
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of its configuration.")] = False,
    sample: Annotated[bool, typer.Option("--sample", help="Print its configuration as commented YAML.")] = False,
) -> None:
    """Show a component: where it comes from, what it can do, and every option that it has."""
    session = session_of(context)
    found = _find(session, name)
    if schema or session.json_output:
        from otus_core.config.schema import schema as schema_of

        documents = [schema_of(one.declaration.load_config(), f"{one.declaration.kind} {name}") for one in found]
        if not schema:
            documents = [{**_facts(one), "schema": document} for one, document in zip(found, documents, strict=True)]
        typer.echo(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2))
    elif sample:
        from otus_core.config.sample import sample as sample_of

        for one in found:
            typer.echo(sample_of(one.declaration.load_config()) or "{}\n", nl=False)
    else:
        typer.echo("\n".join(_description(one, is_coloured()) for one in found), nl=False)


@app.command()
def check(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A plugin, or the folder of one that is not installed (default: all).", metavar="[NAME|PATH]"
        ),
    ] = None,
) -> None:
    """Check that plugins keep the rules that can be checked without data, each in a process of its own.

    Exit status 1 when a rule is broken; warnings do not count.
    """
    from otus_core.plugins.check import check_all, check_path, check_plugin

    session = session_of(context)
    if name is None:
        reports = check_all(session.selection, COMMANDS)
    elif os.sep in name or Path(name).is_dir():
        reports = check_path(Path(name), COMMANDS)
    else:
        reports = check_plugin(name, COMMANDS)
    if session.json_output:
        typer.echo(json.dumps(reports, indent=2))
    else:
        sys.stdout.write("".join(_report(report, is_coloured()) for report in reports))
    if any(finding["status"] == "failed" for report in reports for finding in report["findings"]):
        raise typer.Exit(1)


@app.command()
def new(
    context: typer.Context,
    kind: Annotated[
        str, typer.Argument(help="parser, processor, reporter, capturer or command_channel.", metavar="KIND")
    ],
    name: Annotated[
        str, typer.Argument(help="Name of the component: lower-case letters, digits, hyphens.", metavar="NAME")
    ],
    folder: Annotated[Path, typer.Option("--folder", help="Folder in which the plugin's folder is created.")] = Path(),
    streams: Annotated[bool, typer.Option("--streams", help="A parser of messages over TCP, in any segments.")] = False,
    records: Annotated[bool, typer.Option("--records", help="A processor that makes records at intervals.")] = False,
) -> None:
    """Write a new plugin: a complete distribution, with a licence, and with tests that pass.

    otus plugins new parser dns
    otus plugins new processor rates --records
    """
    from otus_core.plugins.scaffold import bare, write_plugin

    session = session_of(context)
    special = "streams" * streams + "records" * records
    name = bare(name)
    written = write_plugin(kind, name, folder, special=special, taken=session.survey.records)
    root = folder / f"otus-plugin-{name}"
    if session.json_output:
        typer.echo(json.dumps({"folder": str(root), "files": [str(file) for file in written]}))
        return
    for file in written:
        typer.echo(str(file))
    typer.echo(f"\nNext:\n  pip install -e '{root}[test]'\n  otus plugins check {name}\n  pytest {root}")


def _find(session: Session, name: str) -> list[Registered]:
    """Give the components of this name, of one kind or of all. Raises PluginNotFound."""
    kind, _, bare = name.rpartition(":")
    kinds = [kind] if kind else list(KINDS)
    if kind and kind not in KINDS:
        raise OtusError(f"{kind!r} is not a kind of component; there are: {', '.join(KINDS)}")
    found, refusals = [], []
    for one in kinds:
        try:
            found.append(session.registry.component(one, bare))
        except PluginNotFound as error:
            refusals.append((len(str(error)), error))
    if found:
        return found
    # Those that know the name, or one like it
    named = [error for _, error in refusals if "there are:" not in str(error)]
    raise named[0] if named else PluginNotFound(f"no plugin offers {bare!r}; see otus plugins list")


def _facts(one: Registered) -> dict[str, Any]:
    """Give what a component says of itself."""
    import attrs

    from otus_core.declarations import schema_id

    declared, record = one.declaration, one.record
    said = {
        a.name: getattr(declared, a.name) for a in attrs.fields(type(declared)) if a.name not in ("factory", "config")
    }
    about = {"plugin": record.plugin, "distribution": record.distribution, "version": record.version}
    said["schemas"] = {name: schema_id(name, schema.version) for name, schema in declared.schemas.items()}
    return {"kind": declared.kind, **about, **said}


def abilities(declared: Any) -> Iterator[tuple[str, str]]:
    """Give what a component declares that it can do and needs, in words: a name and a value each, without what is not
    so.
    """
    import attrs

    from otus_core.config.shape import spell

    for attribute in attrs.fields(type(declared)):
        value = getattr(declared, attribute.name)
        if attribute.name in FACTS or value in ((), {}, None, False):
            continue
        seconds = spell(value) if attribute.name.endswith("_timeout") else None
        yield attribute.name.replace("_", " "), seconds or say(tuple(value) if isinstance(value, dict) else value)


def _description(one: Registered, coloured: bool) -> str:
    """Write everything about one component."""
    from otus_core.config.converter import unstructure
    from otus_core.config.sample import takes
    from otus_core.config.shape import fields_of
    from otus_core.plugins.records import deprecation

    bold, plain = (BOLD, PLAIN) if coloured else ("", "")
    declared, record = one.declaration, one.record
    lines = [f"{bold}{declared.kind} {declared.name}{plain}: {declared.summary or 'no summary'}"]
    age = deprecation(declared) or declared.stability
    lines.append(f"  from {record.distribution} {record.version}, plugin {record.plugin}; {age}")
    lines += [f"  {name}: {value}" for name, value in abilities(declared)]
    fields = fields_of(declared.load_config())
    lines += ["", f"{bold}options{plain}" if fields else "It has no options."]
    for field in fields:
        default = "required" if field.required else json.dumps(unstructure(field.default, field.hint))
        lines += [f"  {field.key} = {default}", f"      {field.option.help} ({takes(field)})"]
    return "\n".join(lines) + "\n"


def _report(report: dict[str, Any], coloured: bool) -> str:
    bold, red, dim, plain = (BOLD, RED, DIM, PLAIN) if coloured else ("", "", "", "")
    marks = {"passed": "✓", "warning": "!", "failed": "✗"}
    lines = [f"{bold}{report['plugin']}{plain} ({report['distribution']} {report['version']})"]
    for finding in report["findings"]:
        colour = red if finding["status"] == "failed" else dim if finding["status"] == "passed" else ""
        told = f"{finding['rule']}: {finding['message']}" if finding["message"] else finding["rule"]
        lines.append(f"  {colour}{marks[finding['status']]} {told}{plain}")
    return "\n".join(lines) + "\n\n"
