"""Measures the packet path: ``nox -s bench``, or ``python -m tests.bench ROW...``.

Each row is run several times between two dpkt loops over the same packets; CPU time, medians and ratios are printed.
The ratios decide: machines differ and are shared.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import attrs
import dpkt

from otus_core.cli import foreground
from otus_core.log import only_from
from otus_core.plugins.loader import load
from otus_core.task.config import load_task
from tests.bench.generate import capture
from tests.plugins.installed import Installed

FOLDER = Path(".cache") / "bench"
RUNS = 7
DPKT_PACKETS = 5_000
PLAIN_PARSER = Path(__file__).parents[1] / "plugins" / "otus-plugin-plainsip"
OTUS = str(Path(sys.executable).with_name("otus"))


@attrs.frozen(kw_only=True)
class Row:
    """What is measured: a capture, the arguments, and how many times faster than the dpkt loop a frame must be."""

    name: str
    capture: str
    ratio: float
    format: str = "none"
    tunnels: str = ""
    parser: str = "sip"
    processors: tuple[str, ...] = ()


ROWS = (
    Row(name="whole chain", capture="sip", ratio=15.0),
    Row(name="busy: 3,000 calls up", capture="busy", ratio=13.6),
    Row(name="SIP over TCP", capture="tcp", ratio=8.0),
    Row(name="text lines", capture="sip", ratio=9.0, format="text"),
    Row(name="JSON lines", capture="sip", ratio=6.9, format="json"),
    Row(name="fragments, a frame", capture="fragments", ratio=11.8),
    Row(name="QinQ", capture="qinq", ratio=12.0),
    Row(name="VXLAN", capture="vxlan", ratio=12.0, tunnels="vxlan"),
    Row(name="calls", capture="sip", ratio=9.0, processors=("calls",)),
    Row(name="plain-Python SIP parser", capture="sip", ratio=3.0, parser="plainsip"),
)


def dpkt_loop(path: Path) -> float:
    """Give the CPU time a packet of dpkt: file, Ethernet, IP, UDP, SIP request or response with its headers; in µs."""
    count, begun = 0, time.process_time()
    with path.open("rb") as file:
        for _, data in dpkt.pcap.Reader(file):
            payload = dpkt.ethernet.Ethernet(data).data.data.data
            kind = dpkt.sip.Response if payload.startswith(b"SIP/") else dpkt.sip.Request
            kind(payload)
            count += 1
            if count == DPKT_PACKETS:
                break
    return (time.process_time() - begun) / count * 1e6


def chain(row: Row, path: Path) -> float:
    """Give the CPU time a frame of our chain, pcap to reporter, with a filter; in µs."""
    request = foreground.RunRequest(
        files=(str(path),), format=row.format, parsers=(row.parser,), tunnels=row.tunnels, quiet=True
    )
    data = foreground.task_data(request)
    data["processors"] = [{"type": "filter", "config": {"drop_if": "sip.method == 'OPTIONS'"}}, *row.processors]
    only_from("info")  # as `otus run` has it: else a run of more than a second writes log lines
    registry = load()
    config = load_task(data, registry)
    shown, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    begun = time.process_time()
    try:
        result = foreground.run_task(config, registry, request)
    finally:
        took = time.process_time() - begun
        os.dup2(shown, 1)
        os.close(shown)
        os.close(null)
    if result.summary["unaccounted"] or not result.summary["kept"]:
        raise SystemExit(f"{row.name}: the identity does not hold: {result.summary}")
    return took / int(result.summary["frames_read"]) * 1e6


# A process starts with the peak memory of the one that spawned it (getrusage(2)), so a small one stands between.
MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def process(*command: str) -> tuple[float, int]:
    """Give CPU seconds and peak memory (KiB) of a whole process."""
    done = subprocess.run([sys.executable, "-SE", "-c", MEASURE, *command], capture_output=True, check=True, text=True)
    cpu, memory = done.stdout.split()
    return float(cpu), int(memory)


def compared(row: Row, path: Path, plain: Path) -> tuple[float, float]:
    """Give the median time of a frame of our chain, and the median of its ratios to the dpkt loops right before and
    after: a machine's speed drifts.
    """
    values, ratios = [], []
    for _ in range(RUNS):
        before = dpkt_loop(plain)
        values.append(chain(row, path))
        ratios.append((before + dpkt_loop(plain)) / 2 / values[-1])
    return statistics.median(values), statistics.median(ratios)


def median(measure: Callable[[], float]) -> float:
    """Give the median of some runs."""
    return statistics.median(measure() for _ in range(RUNS))


def report(name: str, value: float, target: float, unit: str, note: str = "") -> None:
    """Print one row: what was measured, what was to be reached."""
    verdict = "PASS" if value <= target else "MISS"
    sys.stdout.write(f"{name:<28} {value:>9.3f} {unit:<4} target {target:>7.3f}  {verdict}  {note}\n")
    sys.stdout.flush()


def main(names: list[str]) -> None:
    """Measure the rows asked for, or all; ``hep``, ``kafka``, ``live``, ``node`` and ``rtp`` are benchmarks of their
    own.
    """
    if names in (["hep"], ["kafka"], ["live"], ["node"], ["rtp"]):
        import_module(f"tests.bench.{names[0]}_bench").main()
        return
    plain = capture(FOLDER, "sip")
    with tempfile.TemporaryDirectory() as scratch:
        install(PLAIN_PARSER, Path(scratch))
        for row in ROWS:
            if not names or row.name in names:
                measure(row, plain)
    if not names:
        whole(plain)


def install(source: Path, scratch: Path) -> None:
    """Install a distribution for this process alone."""
    installed = Installed(scratch)
    installed.install(source)
    sys.path.insert(0, str(installed.site))


def measure(row: Row, plain: Path) -> None:
    """Measure one row, and print it."""
    value, ratio = compared(row, capture(FOLDER, row.capture), plain)
    verdict = "PASS" if ratio >= row.ratio else "MISS"
    sys.stdout.write(f"{row.name:<28} {value:>9.3f} µs   {ratio:>5.1f} x dpkt, target {row.ratio:>4.1f} x  {verdict}\n")
    sys.stdout.flush()


def whole(plain: Path) -> None:
    """Measure whole processes."""
    has_tcpdump = shutil.which("tcpdump") is not None
    runs, others = [], []
    with tempfile.TemporaryDirectory() as scratch:
        summary = Path(scratch) / "s.json"
        for _ in range(RUNS):  # in turn: a machine's speed drifts
            runs.append(process(OTUS, "run", str(plain), "--format", "none", "-q", "--summary-json", str(summary)))
            if has_tcpdump:
                others.append(process("tcpdump", "-nn", "-v", "-r", str(plain))[0])
        assert json.loads(summary.read_text())["unaccounted"] == 0
    report("otus run, peak memory", max(run[1] for run in runs) / 1024, 96, "MiB")
    if has_tcpdump:
        part = statistics.median(run[0] / other for run, other in zip(runs, others, strict=True))
        report("otus run / tcpdump -nn -v", part, 0.25, "", f"{1 / part:.1f} x tcpdump")
    for command in (("--help",), ("plugins", "list")):
        report("otus " + " ".join(command), median(lambda c=command: process(OTUS, *c)[0]), 0.25, "s")  # type: ignore[misc]


if __name__ == "__main__":
    main(sys.argv[1:])
