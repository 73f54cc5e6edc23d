"""Whole processes of Otus beside other programs that are installed, on the same packets, in turn, by CPU time.

A row is declared in ``ROWS``: what Otus is told to do, what the other program is told to do, and on which captures.
Where the captures differ in size (some programs are slow), packets a CPU second are compared.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import attrs

from tests.bench.generate import capture, frames_in
from tests.bench.measure import FOLDER, OTUS, Ratio, process
from tests.needs import ROOT

ROUNDS = 3
FILE = "FILE"
"""Stands for the capture in a command."""
FEW = "few"
"""A tenth of the messages, for programs that take ten times as long."""
EXAMPLE = ROOT / "examples" / "call.pcap"


@attrs.frozen
class Peer:
    """Another program: its command, and the capture that it reads where that is not the row's."""

    command: tuple[str, ...]
    capture: str = ""

    @property
    def name(self) -> str:
        """How the row names it."""
        words = [Path(word).name for word in self.command if word not in (FILE, "-r", "-I")]
        return " ".join(words)


TCPDUMP = Peer(("tcpdump", "-nn", "-v", "-r", FILE))
TSHARK_SIP = Peer(("tshark", "-n", "-q", "-z", "sip,stat", "-r", FILE), FEW)
SNGREP = Peer(("sngrep", "-N", "-q", "-I", FILE), FEW)
NGREP = Peer(("ngrep", "-q", "-W", "byline", "-I", FILE, "."))
TSHARK_RTP = Peer(("tshark", "-n", "-q", "-z", "rtp,streams", "-r", FILE), "rtpfew")
PYTHON = Peer((sys.executable, "-c", "pass"))


@attrs.frozen
class Row:
    """``arguments`` of ``otus`` on a capture, and the peers beside it. ``target``: so many times faster than the first
    peer it has to be. ``without_start``: what a run on an empty capture takes is taken off.
    """

    name: str
    arguments: tuple[str, ...]
    capture: str
    peers: tuple[Peer, ...]
    target: float | None = None
    without_start: bool = False


def run(*options: str) -> tuple[str, ...]:
    """Give the arguments of ``otus run`` on a file."""
    return ("run", FILE, "-q", *options)


NONE, RTP = run("--format", "none"), run("--parser", "sip", "--parser", "rtp", "--format", "none")
ROWS = (
    Row("text", run(), "sip", (TCPDUMP, SNGREP, NGREP), 3.0),
    Row("JSON", run("--format", "json"), "sip", (TCPDUMP,), 4.0),
    Row("none", NONE, "sip", (TCPDUMP,), 7.0),
    Row("none, without start", NONE, "sip", (TCPDUMP,), 11.0, without_start=True),
    Row("fragments, without start", NONE, "fragments", (TCPDUMP,), 11.0, without_start=True),
    Row("QinQ, without start", NONE, "qinq", (TCPDUMP,), 11.0, without_start=True),
    Row("VXLAN, without start", run("--tunnels", "vxlan", "--format", "none"), "vxlan", (TCPDUMP,), 11.0, True),
    Row("otus calls", ("calls", FILE), "sip", (SNGREP, TSHARK_SIP)),
    Row("RTP, 40 streams", RTP, "rtp", (TSHARK_RTP,)),
    Row("RTP, 20,000 streams", RTP, "rtp20000", (TSHARK_RTP,)),
    Row("start: otus run, 7 packets", ("run", str(EXAMPLE)), "", (PYTHON,)),
    Row("start: otus --help", ("--help",), "", (PYTHON,)),
)

Measured = dict[tuple[str, str], Ratio]
"""By row and peer."""


def compare(rows: Iterable[Row], say: Callable[[Row, Peer, Ratio, float], None]) -> Measured:
    """Measure rows, and tell each comparison with Otus's own figure: packets a CPU second, or seconds without a
    capture. A peer that is not installed is left out.
    """
    found: Measured = {}
    for row in rows:
        peers = [peer for peer in row.peers if shutil.which(peer.command[0])]
        for peer, (ratio, own) in zip(peers, _rounds(row, peers), strict=True):
            found[row.name, peer.name] = ratio
            say(row, peer, ratio, own)
    return found


def _rounds(row: Row, peers: list[Peer]) -> list[tuple[Ratio, float]]:
    """Run row and peers in turn, for a machine's speed drifts; give each peer's ratio, with Otus's own figure."""
    own: list[float] = []
    ratios: list[list[float]] = [[] for _ in peers]
    for _ in range(ROUNDS if peers else 0):
        start = _seconds((OTUS, *row.arguments), _empty()) if row.without_start else 0.0
        cost = (_seconds((OTUS, *row.arguments), _path(row.capture)) - start) / _packets(row.capture)
        own.append(1 / cost if row.capture else cost)
        for peer, values in zip(peers, ratios, strict=True):
            name = peer.capture or row.capture
            values.append(_seconds(peer.command, _path(name)) / _packets(name) / cost)
    return [(Ratio.of(values), statistics.median(own)) for values in ratios]


def _seconds(command: tuple[str, ...], path: Path) -> float:
    return process(*(str(path) if word == FILE else word for word in command))[0]


def _path(name: str) -> Path:
    return capture(FOLDER, name) if name else EXAMPLE


@cache
def _packets(name: str) -> int:
    return frames_in(capture(FOLDER, name)) if name else 1


def _empty() -> Path:
    """Give a capture that holds no packet."""
    path = FOLDER / "empty.pcap"
    path.write_bytes(capture(FOLDER, "sip").read_bytes()[:24])
    return path
