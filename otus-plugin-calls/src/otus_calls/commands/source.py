"""What the commands have in common: where packets come from, and which calls are asked for.

In: options as the user gave them. Out: the records of a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import attrs
import typer

from otus_core import ConfigInvalid, ConfigProblem, run_task

STDIN = "-"
CHOSEN = "calls.chosen"
"""The label that calls get which match ``--where``: all are reported, so that their numbers stay the same."""
_LABELS = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\b(?:(sip|icmp|rtp|call|registration|kpi)\.[\w-]+)""")
"""Quoted texts, and labels outside them."""

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE]...", help="Capture files (pcap, pcapng, also gzip); - is standard input."),
]
Interface = Annotated[
    str | None,
    typer.Option("--interface", "-i", metavar="IF", help="Capture live from this interface; `any` means all."),
]
Bpf = Annotated[
    str | None, typer.Option("--bpf", metavar="EXPR", help="Read only frames that match this libpcap filter.")
]
Tunnels = Annotated[
    str | None,
    typer.Option("--tunnels", metavar="LIST", help="Tunnels to look into: vxlan,gre,geneve,ipip,gtpu,hep."),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="EXPR", help="Only calls that match, such as \"call.state == 'busy'\" or 'call.mos < 3.5'."
    ),
]
Call = Annotated[
    str | None,
    typer.Option("--call", metavar="N|ID", help="The call of this number in `otus calls`, or of this Call-ID."),
]


@attrs.frozen
class Source:
    """Capture files, or an interface."""

    files: tuple[str, ...]
    interface: str | None = None
    bpf: str | None = None
    tunnels: str | None = None

    @property
    def options(self) -> list[str]:
        """The options of ``otus run`` that this takes."""
        given = (("--bpf", self.bpf), ("--tunnels", self.tunnels))
        return [word for name, value in given if value is not None for word in (name, value)]

    def run(
        self,
        parsers: Sequence[Any],
        processors: Sequence[Mapping[str, Any]],
        names: Mapping[str, str] | None = None,
        quiet: bool = False,
        **more: Any,
    ) -> Iterator[dict[str, Any]]:
        """Run a task on it, and give what is reported. ``quiet`` leaves out what the run says of its faults;
        ``more`` is for ``run_task``. Raises RunFailed.
        """
        task = {"id": "calls", "parsers": list(parsers), "processors": list(processors)}
        source: dict[str, Any] = {"files": self.files, "interface": self.interface, "options": self.options}
        if quiet:
            more["on_fault"] = _hear_nothing
        return run_task(task, **source, names=names, **more)

    def records(
        self, config: Mapping[str, Any], where: str | None = None, kind: str = "call", **more: Any
    ) -> Iterator[dict[str, Any]]:
        """Give the records of calls, registrations and figures, as ``config`` has the processor ``calls`` make them.

        Those that match ``where``, which asks for records of one ``kind``, have the label ``CHOSEN``. Raises RunFailed,
        and ConfigInvalid for a ``where`` that no such record can match.
        """
        _check_labels(where or "", kind)
        marks = {"type": "label", "config": {"labels": {CHOSEN: "yes"}, "when": where}}
        processors = [{"type": "calls", "config": {"consume": True, **config}}, *([] if where is None else [marks])]
        return self.run(["sip", "icmp", "rtp"], processors, {"processors[1].config.when": "--where"}, **more)


def _check_labels(where: str, kind: str) -> None:
    """Refuse labels of other messages and records: what compares them would be false of all, without a word."""
    for found in _LABELS.finditer(where):
        if found[1] not in (None, kind):
            raise refuse("--where", f"{found[0]} is no label of a {kind}: theirs begin with {kind}., as {kind}.state")


def _hear_nothing(line: str) -> None:
    """Take what a second run says of its faults: the first one has said it."""


def source_of(
    files: Sequence[str] | None, interface: str | None = None, bpf: str | None = None, tunnels: str | None = None
) -> Source:
    """Make the source that the options mean. Raises ConfigInvalid."""
    if bool(files) == (interface is not None):
        raise refuse("FILE", "give capture files, or an interface with -i")
    return Source(tuple(files or ()), interface, bpf, tunnels)


def files_to_read_twice(files: Sequence[str] | None, bpf: str | None = None, tunnels: str | None = None) -> Source:
    """Make the source of a command that reads its files more than once. Raises ConfigInvalid."""
    if not files:
        raise refuse("FILE", "give capture files")
    if STDIN in files:
        raise refuse("FILE", "standard input can be read only once, and this command reads twice: give a file")
    return Source(tuple(files), None, bpf, tunnels)


def refuse(what: str, why: str) -> ConfigInvalid:
    """Make the error for an option or argument that cannot be."""
    return ConfigInvalid([ConfigProblem(what, why)])
