"""``otus run``: the pipeline in the foreground, on capture files, standard input or an interface."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otus_core.cli.session import session_of


def run(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Capture files (pcap, pcapng, also gzip); - is standard input."),
    ] = None,
    interface: Annotated[
        str | None, typer.Option("--interface", "-i", help="Capture live from this interface; `any` means all.")
    ] = None,
    bpf: Annotated[str | None, typer.Option("--bpf", help="Read only frames that match this libpcap filter.")] = None,
    output_format: Annotated[
        str | None,
        typer.Option("--format", help="How to print: text (default), json, or none (count only).", metavar="FORMAT"),
    ] = None,
    task: Annotated[
        Path | None, typer.Option("--task", "-t", help="Run the task in this file; FILE or -i replaces its source.")
    ] = None,
    parser: Annotated[
        list[str] | None, typer.Option("--parser", help="Use only this parser; may be repeated.", metavar="NAME")
    ] = None,
    processor: Annotated[
        list[str] | None,
        typer.Option("--processor", help="Put messages through this processor; may be repeated.", metavar="NAME"),
    ] = None,
    keep: Annotated[
        str | None, typer.Option("--filter", help="Keep only messages that match this expression.", metavar="EXPR")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-w", min=1, help="Number of worker processes (default: 1, or what the task says)."),
    ] = None,
    user: Annotated[
        str, typer.Option("--user", help="If root: run the parsing processes as this user.", metavar="NAME")
    ] = "",
    tunnels: Annotated[
        str | None,
        typer.Option("--tunnels", help="Tunnels to look into: vxlan,gre,geneve,ipip,gtpu,hep.", metavar="LIST"),
    ] = None,
    speed: Annotated[
        float | None, typer.Option("--speed", min=0.0, help="Replay files: 1 is the recorded pace, 0 full speed.")
    ] = None,
    summary_json: Annotated[
        Path | None,
        typer.Option(
            "--summary-json", help="Write the summary as JSON to this file; - is standard output.", metavar="PATH"
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no summary.")] = False,
) -> None:
    """Read capture files or capture live, and print the messages that are found.

    otus run call.pcap
    otus run call.pcap --format json
    sudo otus run -i eth0 --bpf "udp port 5060"
    """
    from otus_core.cli.foreground import RunRequest, run_foreground
    from otus_core.logs.events import setup_stderr

    setup_stderr()  # before plugins are loaded, which may have something to say
    request = RunRequest(
        files=tuple(files or ()),
        interface=interface,
        bpf=bpf,
        format=output_format,
        task=task,
        parsers=tuple(parser or ()),
        processors=tuple(processor or ()),
        keep=keep,
        workers=workers,
        user=user,
        tunnels=tunnels,
        speed=speed,
        summary_json=summary_json,
        quiet=quiet,
    )
    session = session_of(context)
    raise typer.Exit(run_foreground(request, session.registry, session.task_defaults))
