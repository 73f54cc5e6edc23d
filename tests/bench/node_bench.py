"""Measures what a node needs: ``nox -s bench -- node``, or ``python -m tests.bench node``, as root.

A daemon captures at one end of a veth pair; tcpreplay sends calls into the other one, which are set up and stay up.
Each line says how many calls are up, what the daemon's processes then have in memory beside files and rings, and how
much CPU time the worker took for a packet since the line before. Signalling alone, then with calls and their media: a
call has two streams.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dpkt

from otus_core.testing import packets
from tests.bench.generate import SEED, call, phone, text
from tests.e2e.node import Node
from tests.live.net import Pair, children_of, own_memory
from tests.patience import wait

STEPS = (0, 1_000, 5_000, 20_000)
"""Calls that are up."""
SET_UP = 5
"""Messages of a call until it is up."""
MEDIA = 5
"""Packets of each stream that are sent: what is kept of a stream does not grow with more."""
A_SECOND = 4_000
"""Packets that tcpreplay sends: little enough that no frame is lost on a small machine."""
TASKS: dict[str, dict[str, Any]] = {
    "SIP alone": {"parsers": ["sip"]},
    "SIP, RTP, calls": {
        "parsers": ["sip", {"type": "rtp", "config": {"idle_timeout": "10m"}}],  # they stay until the end
        "processors": ["calls"],
    },
}
MIB = 1 << 20


def frame(source: int, target: int, ports: tuple[int, int], data: bytes) -> bytes:
    """Give a UDP datagram between two phones."""
    return packets.udp(data, src=text(phone(source)), dst=text(phone(target)), src_port=ports[0], dst_port=ports[1])


def set_up(chance: random.Random, with_media: bool) -> Iterator[bytes]:
    """Give the frames of a call until it is up and both have spoken."""
    ends: list[tuple[int, int]] = []
    for (source, target, message), _ in zip(call(chance), range(SET_UP), strict=False):
        yield frame(source, target, (5060, 5060), message)
        if found := re.search(rb"m=audio (\d+)", message):
            ends.append((source, int(found[1])))
    for n in range(MEDIA if with_media else 0):
        for (one, port), (other, far) in (ends, ends[::-1]):
            head = dpkt.rtp.RTP(pt=8, seq=n, ts=160 * n, ssrc=one << 16 | port, data=bytes(160))
            yield frame(one, other, (port, far), bytes(head))


def write(path: Path, chance: random.Random, calls: int, with_media: bool) -> int:
    """Write a capture in which so many calls are set up; gives the number of frames."""
    count = 0
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for _ in range(calls):
            for data in set_up(chance, with_media):
                writer.writepkt(data, 0.0)
                count += 1
    return count


def cpu_of(pid: int) -> float:
    """Give the seconds of CPU time that a process has had."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def measure(name: str, pair: Pair, folder: Path) -> None:
    """Run a node with a task, and print a line for each step."""
    node = Node(folder)
    node.under = ["ip", "netns", "exec", pair.near]
    task = {"id": "t", "capture": {"type": "afpacket", "interface": "eth0"}, "reporters": ["discard"], **TASKS[name]}
    chance, path, sent, up = random.Random(SEED), folder / "calls.pcap", 0, 0
    try:
        node.start()
        node.rpc("task_create", config=task)
        wait(lambda: node.runs("t"), what="the task runs")
        worker = int(node.state("t")["workers"][0]["pid"])
        for step in STEPS:
            before, some = cpu_of(worker), write(path, chance, step - up, "RTP" in name)
            sent, up = sent + some, step
            if some:
                pair.run(pair.far, "tcpreplay", "-q", "-K", "--pps", A_SECOND, "-i", "eth0", path, timeout=600)
            wait(lambda: node.state("t")["counters"]["frames_read"] >= sent, what="all is read")  # noqa: B023
            counters = node.state("t")["counters"]
            others = [pid for pid in children_of(node.pid) if pid != worker]
            cost = f"{(cpu_of(worker) - before) / some * 1e6:6.1f} µs" if some else "        –"
            sys.stdout.write(
                f"{name:<16} {up:>6,} calls  daemon {own_memory(node.pid) / MIB:5.1f} MiB  "
                f"opener {sum(map(own_memory, others)) / MIB:4.1f} MiB  worker {own_memory(worker) / MIB:6.1f} MiB  "
                f"{cost} a packet  lost {counters['kernel_drop']:,}\n"
            )
            sys.stdout.flush()
    finally:
        node.end()


def main() -> None:
    """Measure all, print one line each."""
    for name in TASKS:
        pair = Pair(f"otusb{os.getpid() % 100_000}")
        try:
            with tempfile.TemporaryDirectory() as folder:
                measure(name, pair, Path(folder))
        finally:
            pair.remove()


if __name__ == "__main__":
    main()
