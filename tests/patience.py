"""Waiting and measuring on a machine that is busy, and may stand still for seconds at any moment."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""How long a thing that must come may take; it costs nothing where it comes at once."""
PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to outgoing connections: nobody takes one between its choice and its use, or while
its owner starts again.
"""


def wait(condition: Callable[[], object], within: float = PATIENCE_S, what: str = "") -> None:
    """Wait until something is so; fails after ``within`` seconds."""
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, f"not within {within} s: {what or condition}"
        time.sleep(0.02)


def keeps(limit: float, measure: Callable[[], float], tries: int = 5, what: str = "it took") -> None:
    """See to it that one of a few tries stays within a limit: a machine that stands still spoils some, a product that
    is slow spoils all.
    """
    measured: list[float] = []
    while not measured or measured[-1] > limit:
        assert len(measured) < tries, f"{what} {', '.join(f'{one:.3f}' for one in measured)}; the limit is {limit}"
        measured.append(measure())


def took(work: Callable[[], object]) -> float:
    """Give the seconds that something takes."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def fresh_process() -> float:
    """Seconds that a new process takes, here and now, to import what a worker does."""
    return took(lambda: subprocess.run([sys.executable, "-c", "import otus_core.worker.child"], check=True))


def beyond(within: float, work: Callable[[], float]) -> float:
    """Give by how much something that starts a process is late.

    On a quiet machine that takes some 0.6 s; on a busy one it is measured.
    """
    slow = fresh_process()
    return work() - max(within, within - 0.6 + 3 * slow)


def nearly_all(times: list[float]) -> float:
    """Give the time that 99 of 100 keep."""
    return sorted(times)[max(0, int(len(times) * 0.99) - 1)]


def free_ports(count: int) -> list[int]:
    """Give TCP ports of the loopback interface that nobody uses now."""
    found = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"{count} ports are not free")


def free_port() -> int:
    """Give one of them."""
    return free_ports(1)[0]
