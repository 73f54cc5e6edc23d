"""Descriptors or processes run out under a daemon whose worker dies: it is told, and all goes on when there are some
again.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import needs
from tests.e2e.node import Node
from tests.e2e.test_plugin_faults import create, goes_on
from tests.live.net import killed
from tests.patience import wait

SEEN_S = 20.0
NOBODY = "65534"


@contextmanager
def descriptors_up_to(most: int, pid: int) -> Iterator[None]:
    """Lower a process's limit, and give it back."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def refused(node: Node, why: str) -> bool:
    return any(entry["event"] == "worker_waiting" and why in entry["reason"] for entry in node.log())


def test_no_descriptor_is_left(start: Callable[[], Node]) -> None:
    node = start()
    create(node, "t", workers=2)
    pid = node.state("t")["workers"][0]["pid"]
    with descriptors_up_to(3, node.pid):
        killed(pid)
        wait(lambda: refused(node, "Too many open files"), SEEN_S, "it is told")
    comes_back(node)


def test_a_worker_is_started_from_the_reserve(start: Callable[[], Node]) -> None:
    node = start()
    create(node, "t", workers=2)
    pid = node.state("t")["workers"][0]["pid"]
    highest = max(int(name) for name in os.listdir(f"/proc/{node.pid}/fd"))
    with descriptors_up_to(highest + 1, node.pid):
        os.kill(pid, signal.SIGKILL)
        wait(lambda: _restarted(node), SEEN_S, "another worker is there")
    goes_on(node, "t")
    assert node.state("t")["supervisor_errors"] == 0


def test_no_process_can_be_had(start: Callable[[], Node], node: Node, tmp_path: Path) -> None:
    needs.root()  # whose processes the kernel does not limit: the daemon runs as somebody else
    reads = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")  # this Python, wherever it lies
    node.under = [needs.tool("setpriv"), "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", *reads]
    os.chown(node.folder, int(NOBODY), int(NOBODY))
    for folder in (node.folder, *tmp_path.parents[:2], tmp_path):
        folder.chmod(0o755)
    node = start()
    create(node, "t", workers=2)
    before = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    limit = [*node.under, needs.tool("prlimit"), f"--pid={node.pid}"]
    subprocess.run([*limit, "--nproc=1:"], check=True)
    killed(node.state("t")["workers"][0]["pid"])
    wait(lambda: refused(node, "Resource temporarily unavailable"), SEEN_S, "it is told")
    subprocess.run([*limit, f"--nproc={'unlimited' if before == resource.RLIM_INFINITY else before}:"], check=True)
    comes_back(node)


def comes_back(node: Node) -> None:
    """Both workers run again, packets flow, and that it went wrong is shown."""
    wait(lambda: all(worker["state"] == "running" for worker in node.state("t")["workers"]), what="all run")
    goes_on(node, "t")
    status = node.state("t")
    assert status["supervisor_errors"] >= 1
    assert status["worker_restarts"] == 1
    assert status["waiting_for"] == ""
    assert node.metrics()["otus_supervisor_errors_total", (("task", "t"),)] >= 1


def _restarted(node: Node) -> bool:
    return any(entry["event"] == "worker_died" for entry in node.log()) and len(_workers(node)) == 2


def _workers(node: Node) -> list[str]:
    children = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
    return [child for child in children if b"worker.child" in Path(f"/proc/{child}/cmdline").read_bytes()]
