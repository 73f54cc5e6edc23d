"""``otus extract``: the frames of chosen calls, as they were captured, in a capture file of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from otus_calls.commands.finding import Numbered, choose, find_calls
from otus_calls.commands.newfile import new_file
from otus_calls.commands.reading import CALL_LABELS, ending_as_before, filters_for, show_id
from otus_calls.commands.source import Bpf, Call, Files, Source, Tunnels, Where, files_to_read_twice, refuse
from otus_calls.extract.choice import Choice
from otus_calls.extract.copying import copy_frames
from otus_core import OtusError, printable


def extract(
    files: Files = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="The capture file to make (pcapng).")
    ] = None,
    where: Where = None,
    call: Call = None,
    no_media: Annotated[bool, typer.Option("--no-media", help="Leave RTP and RTCP out.")] = False,
    bpf: Bpf = None,
    tunnels: Tunnels = None,
) -> None:
    """Copy the frames of some calls to a capture file: as captured, with IP fragments, TCP segments and media.

    otus extract big.pcap -o busy.pcapng --where "call.state == 'busy'"
    otus extract big.pcap -o one.pcapng --call 3
    """
    if output is None:
        raise refuse("-o", "name the capture file to make")
    if where is None and call is None:
        raise refuse("--where", "say which calls: --where EXPR, or --call with a number of otus calls or a Call-ID")
    source = files_to_read_twice(files, bpf, tunnels)
    with new_file(output, source.files, "-o") as file:
        found = find_calls(source, where, messages=False)
        calls = choose(found, call)
        choice = _choice(source, Wanted(calls, found.calls), not no_media)
        try:
            copied = copy_frames(source.files, choice, file, _names(tunnels))
        except (OSError, ValueError) as error:
            raise OtusError(printable(str(error))) from error
    told = f"{copied.frames:,} frames of {len(calls):,} call{'s' if len(calls) > 1 else ''}"
    sys.stderr.write(f"otus: {told} in {printable(str(output))}\n")
    found.end()


class Wanted:
    """The calls whose frames are wanted: a Call-ID may be that of several calls, told apart by the caller's tag."""

    def __init__(self, calls: Sequence[Numbered], known: Sequence[Numbered]) -> None:
        wanted = {(one.facts["call_id"], one.facts["from_tag"]) for one in calls}
        self.ids = {call_id for call_id, _ in wanted}
        self._others = {(one.facts["call_id"], one.facts["from_tag"]) for one in known} - wanted

    def holds(self, one: Mapping[str, Any]) -> bool:
        """Whether a message or stream belongs to one of them."""
        ids = self.ids.intersection(_calls_of(one))
        if not ids or one["payload_type"] != "sip":
            return bool(ids)
        tags = [(one["payload"].get(side) or {}).get("tag") for side in ("from", "to")]
        return not any((call_id, tag) in self._others for call_id in ids for tag in tags)


def _names(tunnels: str | None) -> list[str]:
    return [name.strip() for name in (tunnels or "").split(",") if name.strip()]


def _choice(source: Source, wanted: Wanted, media: bool) -> Choice:
    """Find the messages and streams of calls."""
    choice = Choice()
    parsers = ["sip", "icmp", *(["rtp"] if media else [])]
    with ending_as_before():
        for one in source.run(parsers, filters_for(wanted.ids), quiet=True):
            if wanted.holds(one):
                add = choice.add_stream if one["payload_type"] == "stream" else choice.add_message
                add(one)
    return choice


def _calls_of(one: Mapping[str, Any]) -> Iterable[str]:
    """Give the Call-IDs of a message or stream. Media that two legs share belong to both."""
    if one["payload_type"] == "stream":
        return map(show_id, one["payload"].get("calls") or [one["payload"]["call_id"] or ""])
    return [show_id(one["labels"][name]) for name in CALL_LABELS if name in one["labels"]]
