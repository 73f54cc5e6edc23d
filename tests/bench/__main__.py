"""Measures Otus beside other programs: ``nox -s bench``, or ``python -m tests.bench [--check | --store] [ROW...]``.

First the packet path beside a loop in dpkt (``chain``), then whole processes beside tcpdump, tshark, sngrep and ngrep,
as far as they are installed (``beside``); ratios of CPU time, each the median of several runs in turn, with their
extremes. The ratios decide: machines differ and are shared. With ``--check`` it fails where a ratio is more than a
tenth below the stored one (``ratios.json``); ``--store`` stores them, and writes them into docs/speed.md. ``hep``,
``kafka``, ``live``, ``node`` and ``rtp`` are benchmarks of their own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from tests.bench import beside, chain, stored
from tests.bench.generate import capture
from tests.bench.measure import FOLDER, OTUS, Ratio, process
from tests.plugins.installed import Installed

OF_THEIR_OWN = ("hep", "kafka", "live", "node", "rtp")
FLAGS = ("--check", "--store")
PLAIN_PARSER = Path(__file__).parents[1] / "plugins" / "otus-plugin-plainsip"
MEMORY_MAX_MIB = 96
AGAIN = 2
"""So often a row that is worse is measured again: a busy machine spoils a median now and then, a fault spoils all."""


def main(arguments: list[str]) -> int:
    """Measure the rows asked for, or all; gives the exit status."""
    names = [one for one in arguments if one not in FLAGS]
    if len(names) == 1 and names[0] in OF_THEIR_OWN:
        import_module(f"tests.bench.{names[0]}_bench").main()
        return 0
    if strange := [name for name in names if name not in every_name()]:
        raise SystemExit(f"there is no row {strange[0]!r}; there are {', '.join(every_name())}")
    with tempfile.TemporaryDirectory() as scratch:
        _install(PLAIN_PARSER, Path(scratch))
        found = measure(names)
        if "--store" in arguments:
            stored.store(found)
        failed = check(found) if "--check" in arguments else []
    if not names:
        tell_memory()
        _say(f"benchmarks of their own: {', '.join(f'nox -s bench -- {name}' for name in OF_THEIR_OWN)}")
    return 1 if failed else 0


def every_name() -> list[str]:
    """Name every row."""
    return [row.name for row in (*chain.ROWS, *beside.ROWS)]


def measure(names: list[str]) -> dict[str, Ratio]:
    """Measure these rows, or all; tells and gives each comparison."""
    found = {}
    for row in chain.ROWS:
        if not names or row.name in names:
            ratio = found[stored.key_of(row.name, "dpkt")] = chain.compare(row)
            _tell(row.name, "dpkt", ratio, row.target)
    wanted = [row for row in beside.ROWS if not names or row.name in names]
    compared = beside.compare(wanted, _tell_beside)
    return {**found, **{stored.key_of(row, peer): ratio for (row, peer), ratio in compared.items()}}


def check(found: dict[str, Ratio]) -> list[str]:
    """Compare with what is stored, measuring again what seems worse; tells and gives what is."""
    kept = stored.read()
    failed = stored.worse(found, kept)
    for _ in range(AGAIN):
        if failed:
            _say(f"once more, because worse than stored: {', '.join(failed)}")
            again = measure([key.partition(" / ")[0] for key in failed])
            failed = [key for key in stored.worse(again, kept) if key in failed]
    for key in failed:
        _say(f"FAIL  {key}: more than a tenth below the stored {kept['ratios'][key][0]:.2f} x ({kept['machine']})")
    if failed and os.getloadavg()[0] > (cores := len(os.sched_getaffinity(0))):
        _say(f"the machine is busy, {os.getloadavg()[0]:.0f} processes want {cores} cores: use a quiet one")
    _say(f"checked {len(found)} ratios against those stored on {kept['machine']}: {len(failed)} are worse")
    return failed


def tell_memory() -> None:
    """Measure and tell the peak memory of a run."""
    with tempfile.TemporaryDirectory() as scratch:
        summary = Path(scratch) / "s.json"
        run = (OTUS, "run", str(capture(FOLDER, "sip")), "--format", "none", "-q", "--summary-json", str(summary))
        peak = process(*run)[1] / 1024
        assert json.loads(summary.read_text())["unaccounted"] == 0
    _say(f"otus run, peak memory {peak:.1f} MiB, target {MEMORY_MAX_MIB}  {_verdict(peak <= MEMORY_MAX_MIB)}")


def _tell_beside(row: beside.Row, peer: beside.Peer, ratio: Ratio, own: float) -> None:
    figure = f"{own:>9,.0f} packets/CPU s" if row.capture else f"{own:>9.3f} s"
    _tell(row.name, peer.name, ratio, row.target if peer is row.peers[0] else None, figure)


def _tell(row: str, peer: str, ratio: Ratio, target: float | None, figure: str = "") -> None:
    note = f"target {target:4.1f} x  {_verdict(ratio.median >= target)}" if target is not None else ""
    _say(f"{row:<27} {figure:<23} {peer:<30} {ratio}  {note}")


def _verdict(good: bool) -> str:
    return "PASS" if good else "MISS"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _install(source: Path, scratch: Path) -> None:
    """Install a distribution for this process alone."""
    installed = Installed(scratch)
    installed.install(source)
    sys.path.insert(0, str(installed.site))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
