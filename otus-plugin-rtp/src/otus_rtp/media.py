"""``otus media``: the streams of captures or of an interface, a line each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from otus_core import (
    Column,
    ConfigInvalid,
    ConfigProblem,
    RunFailed,
    TableLayout,
    printable,
    run_task,
    table_lines,
    terminal_columns,
    write_csv,
    write_lines,
)

COLUMNS = (
    Column("START", leaves=2),
    Column("FROM"),
    Column("TO"),
    Column("CODEC", leaves=5),
    Column("PACKETS", right=True),
    Column("LOST", right=True),
    Column("LATE", right=True, leaves=7),
    Column("JITTER", right=True, leaves=4),
    Column("MAX", right=True, leaves=1),
    Column("MOS", right=True),
    Column("NOTE", least=4, leaves=6),
    Column("END", leaves=3),
    Column("CALL", least=8, leaves=8),
)
LIVE_WIDTHS = (12, 21, 21, 8, 8, 7, 7, 7, 7, 4, 9, 8, 40)
"""Columns when lines are shown as they come, so that nobody knows what is still to come."""
CELL_MAX = 48
LINE_MAX = 240
"""Columns where there is no terminal."""
FLAT = (
    "first",
    "last",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "ssrc",
    "call_id",
    "match",
    "codec",
    "packets",
    "bytes",
    "expected",
    "lost",
    "loss_pct",
    "duplicates",
    "reordered",
    "seq_resets",
    "strays",
    "jitter_mean_ms",
    "jitter_max_ms",
    "delta_min_ms",
    "delta_mean_ms",
    "delta_max_ms",
    "ptime",
    "skew_ppm",
    "bursts",
    "burst_ratio",
    "burst_max",
    "discarded",
    "r",
    "mos",
    "capture_loss",
    "encrypted",
    "nat",
    "dscp",
    "ssrc_changes",
    "ended",
)
"""The columns of ``--csv``."""


def media(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Capture files (pcap, pcapng, also gzip); - is standard input."),
    ] = None,
    interface: Annotated[
        str | None, typer.Option("--interface", "-i", help="Capture live from this interface; `any` means all.")
    ] = None,
    bpf: Annotated[str | None, typer.Option("--bpf", help="Read only frames that match this libpcap filter.")] = None,
    tunnels: Annotated[
        str | None,
        typer.Option("--tunnels", help="Tunnels to look into: vxlan,gre,geneve,ipip,gtpu,hep.", metavar="LIST"),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval", help="Also show streams that have not ended, at this interval, such as 10s.", metavar="TIME"
        ),
    ] = None,
    guess: Annotated[
        bool, typer.Option("--guess", help="Also follow what looks like RTP and no call announced.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a stream.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values, with a line of names.")] = False,
) -> None:
    """Show the RTP streams of calls, a line each: loss, jitter, and the MOS.

    otus media call.pcap
    sudo otus media -i eth0 --interval 10s
    otus media call.pcap --csv
    """
    if bool(files) == (interface is not None):
        raise _refuse("FILE", "give capture files, or an interface with -i")
    if as_json and as_csv:
        raise _refuse("--csv", "give --json or --csv, not both")
    config: dict[str, Any] = {"guess": guess} | ({"interval": interval} if interval else {})
    task = {"id": "media", "parsers": [{"type": "rtp", "config": config}, "sip"]}  # most packets are RTP
    options = [*(["--bpf", bpf] if bpf else []), *(["--tunnels", tunnels] if tunnels else [])]
    names = {"parsers[0].config.interval": "--interval"}
    told = run_task(task, files=files or (), interface=interface, options=options, names=names)
    streams = (one for one in told if one["payload_type"] == "stream")
    if as_json:
        write_lines(json.dumps(_flat(one) | one["payload"]) for one in streams)
    elif as_csv:
        write_csv(map(_flat, streams), FLAT)
    elif interface is not None or interval:
        write_lines(_live_lines(streams))
    else:
        write_lines(_table(streams))


def _refuse(what: str, why: str) -> ConfigInvalid:
    return ConfigInvalid([ConfigProblem(what, why)])


def _flat(one: dict[str, Any]) -> dict[str, Any]:
    """Give addresses and figures of a stream as a flat mapping with the names ``FLAT``."""
    facts = one["payload"]
    told = {name: one[name] for name in ("src_ip", "src_port", "dst_ip", "dst_port")}
    told |= {f"jitter_{name}_ms": facts["jitter_ms"][name] for name in ("mean", "max")}
    told |= {f"delta_{name}_ms": value for name, value in facts["delta_ms"].items()}
    return {name: told.get(name, facts.get(name)) for name in FLAT}


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    facts = one["payload"]
    jitter = facts["jitter_ms"]
    cells = (
        (facts["first"] or "")[11:23],
        _end(one["src_ip"], one["src_port"]),
        _end(one["dst_ip"], one["dst_port"]),
        facts["codec"] or "?",
        f"{facts['packets']:,}",
        _share(facts["lost"], facts["expected"]),
        _share(facts["discarded"], facts["expected"]),
        *("–" if value is None else f"{value:.1f}" for value in (jitter["mean"], jitter["max"])),
        "–" if facts["mos"] is None else f"{facts['mos']:.2f}",
        _note(facts),
        facts["ended"] or "…",
        facts["call_id"] or facts["match"],
    )
    return tuple(printable(cell, CELL_MAX if n < len(cells) - 1 else LINE_MAX) for n, cell in enumerate(cells))


def _share(packets: int | None, expected: int) -> str:
    """Give packets in percent of those that were expected; a few are never shown as none."""
    if packets is None:
        return "–"
    return f"{max(0.1, 100 * packets / expected):.1f} %" if packets else "0"


def _note(facts: dict[str, Any]) -> str:
    """Say what is special about a stream, or why its quality cannot be known."""
    said = (("lost here", facts["capture_loss"]), ("srtp", facts["encrypted"]), ("nat", facts["nat"]))
    return " ".join(word for word, applies in said if applies)


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _table(streams: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Give the lines of a table of all streams, by the time they began."""
    found: list[dict[str, Any]] = []
    failure = None
    try:
        found += streams
    except RunFailed as error:  # what there is of a damaged capture is shown all the same
        if not found:
            raise
        failure = error
    rows = [_cells(one) for one in sorted(found, key=lambda one: str(one["payload"]["first"]))]
    if not rows:
        yield "no streams: no call in it announces RTP that is there too (--guess follows RTP without calls)"
        return
    shown = [n for n, column in enumerate(COLUMNS) if column.name != "NOTE" or any(row[n] for row in rows)]
    yield from table_lines(
        [COLUMNS[n] for n in shown], [[row[n] for n in shown] for row in rows], terminal_columns() or LINE_MAX
    )
    if failure is not None:
        raise failure


def _live_lines(streams: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Give a line for each record as it comes."""
    layout = TableLayout(COLUMNS, LIVE_WIDTHS, terminal_columns() or LINE_MAX)
    for n, one in enumerate(streams):
        if n == 0:
            yield layout.header()
        yield layout.line(_cells(one))
