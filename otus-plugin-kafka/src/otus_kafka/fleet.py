"""``otus fleet``: commands to many nodes over Kafka, and their answers as a table."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

import otus_core
from otus_core import ConfigInvalid, OtusError, printable

if TYPE_CHECKING:
    from otus_kafka.fleet_client import Fleet, Gathered

app = typer.Typer(
    help="""Command many nodes over Kafka, and gather their answers.

    Name the brokers with --brokers or OTUS_FLEET_BROKERS, or give a daemon's configuration file with the global option
    --config: its otus.kafka and command_channel.kafka are then used. The exit status is 1 if a node answered with an
    error, or if an expected node did not answer.
    """,
    no_args_is_help=True,
)

# As for other commands: 2 is for wrong use of the command line.
FAILED = 1
OneOrAll = Annotated[str, typer.Option("--target", metavar="HOST", help="Host name of a node, or '*' for all.")]
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="Task id.")]
SHARED: tuple[tuple[str, Any, Any], ...] = (
    (
        "brokers",
        Annotated[
            str, typer.Option(envvar="OTUS_FLEET_BROKERS", metavar="HOST:PORT,...", help="Brokers to connect to first.")
        ],
        "",
    ),
    (
        "topic",
        Annotated[str, typer.Option(help="Topic of commands (default: the configuration file's, else otus-commands).")],
        "",
    ),
    (
        "response_topic",
        Annotated[str, typer.Option(help="Topic of answers (default: the configuration file's, else otus-responses).")],
        "",
    ),
    (
        "heartbeat_topic",
        Annotated[str, typer.Option(help="Topic of heartbeats, which show the nodes that should answer.")],
        "",
    ),
    ("timeout", Annotated[float, typer.Option(min=0.5, max=600, help="Seconds to wait for answers.")], 10.0),
    ("expect", Annotated[int, typer.Option(min=0, help="Number of nodes that should answer when all are asked.")], 0),
    ("keys_file", Annotated[str, typer.Option(help='Sign with keys from a file of lines "TARGET KEY-IN-HEX".')], ""),
    ("json", Annotated[bool, typer.Option("--json", help="Print the answers as one JSON object.")], False),
)
"""The options of every command here."""

Rows = Callable[[Mapping[str, Any]], list[Sequence[object]]]


@attrs.frozen(kw_only=True)
class Request:
    """What one command asks of the nodes, and how its answers are shown."""

    target: str
    command: str
    payload: Mapping[str, Any] = attrs.field(factory=dict)
    head: Sequence[str]
    rows: Rows
    compares: bool = False
    """Whether the versions of the nodes are shown as well."""


def _command(name: str) -> Callable[[Callable[..., Request]], Callable[..., Request]]:
    """Add a command to the group: its own options, then those that all share."""

    def add(make: Callable[..., Request]) -> Callable[..., Request]:
        own = list(inspect.signature(make, eval_str=True).parameters.values())
        names = {parameter.name for parameter in own}
        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [inspect.Parameter(n, keyword, annotation=kind, default=default) for n, kind, default in SHARED]
        context = inspect.Parameter("ctx", keyword, annotation=typer.Context)

        def run(**given: Any) -> None:
            request = make(**{name: given.pop(name) for name in names})
            _run(given.pop("ctx"), request, given)

        parameters = [context, *(parameter.replace(kind=keyword) for parameter in own), *shared]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__doc__ = make.__doc__
        app.command(name)(run)
        return make

    return add


@_command("list")
def _list(target: OneOrAll = "*") -> Request:
    """List the nodes, with version, uptime and number of tasks; with heartbeats, the silent ones too."""
    return Request(target=target, command="daemon_status", head=("VERSION", "UPTIME", "TASKS"), rows=_node_row)


@_command("status")
def _status(
    task: Annotated[str, typer.Argument(metavar="[TASK]", help="Id of the task (default: all tasks).")] = "",
    target: OneOrAll = "*",
) -> Request:
    """Show tasks and their states, node by node, and which nodes run other versions of Otus or of plugins."""
    payload = {"task_id": task} if task else {}
    head = ("TASK", "STATE", "REASON")
    return Request(target=target, command="task_status", payload=payload, head=head, rows=_task_rows, compares=not task)


@_command("create")
def _create(
    file: Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="The task file; - is standard input.")],
    target: OneOrAll,
) -> Request:
    """Create a task on a node, or on all."""
    payload = {"config": otus_core.load_file(file)}
    return Request(target=target, command="task_create", payload=payload, head=("TASK", "STATUS"), rows=_done_row)


@_command("delete")
def _delete(task: TaskId, target: OneOrAll) -> Request:
    """Delete a task on a node, or on all."""
    payload = {"task_id": task}
    return Request(target=target, command="task_delete", payload=payload, head=("TASK", "STATUS"), rows=_done_row)


@_command("reload")
def _reload(target: OneOrAll) -> Request:
    """Have a node, or all, read their configuration again."""
    return Request(target=target, command="config_reload", head=("STATUS", "CHANGED"), rows=_reload_row)


def _fleet(ctx: typer.Context, given: Mapping[str, Any]) -> Fleet:
    """Put together what the options and the configuration file say. Raises OtusError."""
    from otus_kafka.envelope import read_keys
    from otus_kafka.fleet_client import Fleet
    from otus_kafka.settings import ClientConfig, SaslConfig, TlsConfig

    kafka, channel = _read_configuration(ctx.find_root().params.get("config"))
    found = (
        [one.strip() for one in given["brokers"].split(",") if one.strip()]
        or channel.get("brokers")
        or kafka.get("brokers")
    )
    if not found:
        raise ConfigInvalid("fleet: name the brokers: --brokers HOST:PORT, OTUS_FLEET_BROKERS, or --config FILE")
    try:
        client = ClientConfig(
            brokers=list(found),
            sasl=SaslConfig(**(channel.get("sasl") or kafka.get("sasl") or {})),
            tls=TlsConfig(**(channel.get("tls") or kafka.get("tls") or {})),
        )
        keys = read_keys(given["keys_file"]) if given["keys_file"] else {}
    except (TypeError, ValueError, OSError) as error:
        raise OtusError(f"fleet: {error}") from None
    return Fleet(
        client=client,
        topic=given["topic"] or channel.get("topic") or "otus-commands",
        response_topic=given["response_topic"] or channel.get("response_topic") or "otus-responses",
        heartbeat_topic=given["heartbeat_topic"] or (channel.get("heartbeat") or {}).get("topic") or "",
        timeout=given["timeout"],
        expect=given["expect"],
        keys=keys,
    )


def _read_configuration(path: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give ``otus.kafka`` and ``otus.command_channel.kafka`` of the configuration file, where one is named."""
    if path is None:
        return {}, {}
    data: Any = otus_core.load_file(path)
    otus = data.get("otus") if isinstance(data, dict) else None
    otus = otus if isinstance(otus, dict) else {}
    channel = otus.get("command_channel")
    parts = (otus.get("kafka"), channel.get("kafka") if isinstance(channel, dict) else None)
    kafka, command_channel = (part if isinstance(part, dict) else {} for part in parts)
    return kafka, command_channel


def _run(ctx: typer.Context, request: Request, given: Mapping[str, Any]) -> None:
    import asyncio

    from otus_kafka.fleet_client import command
    from otus_kafka.fleet_versions import read_versions, show_versions

    fleet = _fleet(ctx, given)
    gathered = asyncio.run(command(fleet, request.target, request.command, request.payload))
    nodes = {*gathered.answers, *gathered.missing}
    versions = read_versions(gathered.answers, {n: b for n, b in gathered.heartbeats.items() if n in nodes})
    if given["json"] or ctx.find_root().params.get("output") == "json":
        shown = attrs.asdict(gathered)
        del shown["heartbeats"]
        typer.echo(json.dumps({**shown, "versions": versions} if request.compares else shown, indent=1))
    else:
        typer.echo(_table(gathered, request, with_signatures=bool(fleet.keys)))
        for line in show_versions(versions) if request.compares else ():
            typer.echo(line)
        for note in gathered.notes:
            typer.echo(f"note: {note}", err=True)
    if not gathered.answers:
        typer.echo(f"no node answered within {fleet.timeout:g} s", err=True)
    failed = any("error" in answer for answer in gathered.answers.values())
    if failed or gathered.missing or gathered.namesakes or not gathered.answers:
        raise typer.Exit(FAILED)


def _table(gathered: Gathered, request: Request, *, with_signatures: bool) -> str:
    """Show the answers, one row of cells or one sentence a node."""
    lines: list[list[str]] = []
    sentences: dict[int, str] = {}
    for node, answer in gathered.answers.items():
        front = [node, gathered.signed[node]] if with_signatures else [node]
        rows = [] if "error" in answer else _rows(request.rows, answer["result"])
        if not rows:
            problem = answer.get("error")
            sentences[len(lines)] = f"error: {problem['message']}" if problem else "error: odd answer"
        lines += [[*front, *map(str, row)] for row in rows or [()]]
    silent = {node: gathered.heartbeats.get(node) for node in gathered.missing} | gathered.namesakes
    for node, beat in silent.items():
        sentences[len(lines)] = "no answer" + (f"; last heartbeat {beat.get('timestamp')}" if beat else "")
        lines.append([node, "-"] if with_signatures else [node])
    head = ["NODE", *(["SIGNED"] if with_signatures else []), *request.head]
    return _align([head, *lines], {n + 1: printable(text, 300) for n, text in sentences.items()})


def _align(lines: list[list[str]], sentences: Mapping[int, str]) -> str:
    """Give lines with columns of one width; a sentence stands behind the cells of its line, and widens nothing."""
    lines = [[printable(cell, 120) for cell in line] for line in lines]
    widths = [max((len(line[i]) for line in lines if len(line) > i), default=0) for i in range(len(lines[0]))]
    shown = (
        [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), sentences.get(n, "")]
        for n, line in enumerate(lines)
    )
    return "\n".join("  ".join(cells).rstrip() for cells in shown)


def _rows(make: Rows, result: Mapping[str, Any]) -> list[Sequence[object]]:
    """Give a node's rows; none where its answer is not what the command gives."""
    try:
        return list(make(result))
    except Exception:  # whatever is in there: it must not cost the other nodes their rows
        return []


def _node_row(result: Mapping[str, Any]) -> list[Sequence[object]]:
    return [
        (
            result.get("version", "?"),
            otus_core.say_duration(float(result.get("uptime_sec") or 0)),
            result.get("task_count", "?"),
        )
    ]


def _task_rows(result: Mapping[str, Any]) -> list[Sequence[object]]:
    tasks = result.get("tasks") if "tasks" in result else [result]
    found = [task for task in tasks or () if isinstance(task, dict)]
    return [(t.get("task_id", "?"), t.get("state", "?"), t.get("reason") or "-") for t in found] or [("-", "-", "-")]


def _done_row(result: Mapping[str, Any]) -> list[Sequence[object]]:
    return [(result.get("task_id", "?"), result.get("status", "?"))]


def _reload_row(result: Mapping[str, Any]) -> list[Sequence[object]]:
    return [(result.get("status", "?"), ", ".join(result.get("changed") or ()) or "nothing")]
