"""What a worker and an opener may still do: read /proc of real runs, and try it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otus_core.task.seccomp import CLONE, CLONE3, REFUSED, X86_ONLY
from tests import needs
from tests.e2e.node import Node, task
from tests.live.net import OTUS, children_of, has_ring
from tests.patience import PATIENCE_S, wait

NET_RAW = 1 << 13
LIVE = {
    "id": "live",
    "workers": 2,
    "capture": {"type": "afpacket", "interface": "lo"},
    "parsers": ["sip"],
    "reporters": ["discard"],
}


def status(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def helpers(pid: int, module: str) -> list[int]:
    command = f"otus_core.task.{module}".encode()
    return [child for child in children_of(pid) if command in Path(f"/proc/{child}/cmdline").read_bytes()]


def sealed(pid: int, kept: int = 0) -> None:
    """See to it that a process has these capabilities and no way to others."""
    now = status(pid)
    sets = {name: int(now[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")}
    assert sets["CapEff"] == sets["CapPrm"] == kept
    assert sets["CapInh"] == 0
    assert (now["NoNewPrivs"], now["Seccomp"]) == ("1", "2")


def is_sealed(pid: int) -> bool:
    return status(pid).get("Seccomp") == "2"


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """``otus run``, stopped well at the end."""
    with subprocess.Popen([OTUS, "run", *map(str, arguments), "-q"], stdout=subprocess.DEVNULL) as process:
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) in (0, 130)


@pytest.fixture
def call(examples: Path) -> Path:
    return (examples / "call.pcap").resolve()


def test_workers_of_files_have_no_privilege(call: Path) -> None:
    with running(call, "--workers", 2, "--speed", 0.01) as process:
        wait(lambda: len([pid for pid in helpers(process.pid, "child") if is_sealed(pid)]) == 2, what="two workers")
        for pid in helpers(process.pid, "child"):
            sealed(pid)


def test_workers_of_an_interface_have_none_and_the_opener_has_one() -> None:
    needs.root()
    with running("-i", "lo", "--workers", 2) as process:
        wait(lambda: len([pid for pid in children_of(process.pid) if has_ring(pid)]) == 2, what="two workers")
        for pid in helpers(process.pid, "child"):
            sealed(pid)
        (opener,) = helpers(process.pid, "opener")
        sealed(opener, NET_RAW)


def test_workers_of_a_daemon_have_none(node: Node, call: Path) -> None:
    needs.root()
    node.start()
    assert node.call("task", "create", "-f", "-", text=task(call))[0] == 0
    assert node.call("task", "create", "-f", "-", text=json.dumps(LIVE))[0] == 0
    workers = helpers(node.pid, "child")
    assert len(workers) == 3
    for pid in workers:
        sealed(pid)
    sealed(helpers(node.pid, "opener")[0], NET_RAW)


def test_root_reads_others_files_and_becomes_somebody_else(call: Path, tmp_path: Path) -> None:
    """The files are opened first: who has given up root's rights could not."""
    needs.root()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "call.pcap").write_bytes(call.read_bytes())
    (closed / "call.pcap").chmod(0o600)
    for path in (closed, closed / "call.pcap"):
        os.chown(path, 4321, 4321)
    done = subprocess.run(
        [OTUS, "run", closed / "call.pcap", "-w", "2", "--format", "json"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.count(b"\n") > 5) == (0, True), done.stderr


def test_workers_become_the_user_that_is_told(call: Path) -> None:
    needs.root()
    if Path(sys.executable).resolve().is_relative_to("/root"):
        pytest.skip("nobody but root can read this Python")
    with running(call, "--workers", 2, "--speed", 0.01, "--user", "nobody") as process:
        wait(lambda: len([pid for pid in helpers(process.pid, "child") if is_sealed(pid)]) == 2, what="two workers")
        for pid in helpers(process.pid, "child"):
            sealed(pid)
            assert set(status(pid)["Uid"].split()) == {"65534"}


def test_a_user_that_does_not_exist_is_told(call: Path) -> None:
    done = subprocess.run([OTUS, "run", call, "-w", "2", "--user", "nobody-at-all"], capture_output=True, check=False)
    assert (done.returncode, b"there is no user 'nobody-at-all'" in done.stderr) == (1, True), done.stderr


TRY = """
import ctypes, os, subprocess, threading
from otus_core.task.privilege import seal
seal()
libc = ctypes.CDLL(None, use_errno=True)
def refused(call):
    try:
        return call() is None
    except PermissionError:
        return True
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
if os.fork() == 0:
    os._exit(0)
os.wait()
assert refused(lambda: subprocess.run(["true"])), "execve"
for number in {numbers}:
    ctypes.set_errno(0)
    assert libc.syscall(number, -1, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 1, number
assert libc.unshare(0x10000000) == -1
print("sealed")
"""


def test_the_calls_are_refused_and_others_are_not() -> None:
    column = {"x86_64": 0, "aarch64": 1}[os.uname().machine]
    numbers = [row[column] for name, row in REFUSED.items()]
    done = subprocess.run(
        [sys.executable, "-c", TRY.format(numbers=numbers)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "sealed\n", done.stderr


@pytest.mark.parametrize(
    ("header", "column"), [("x86_64-linux-gnu/asm/unistd_64.h", 0), ("asm-generic/unistd.h", 1)], ids=["x86", "arm"]
)
def test_the_numbers_are_those_of_the_kernels_headers(header: str, column: int) -> None:
    path = Path("/usr/include") / header
    if not path.exists():
        needs.lacking(f"no {path} (linux-libc-dev)")
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text()))
    ours = {name: row[column] for name, row in REFUSED.items()} | {"clone": CLONE[column], "clone3": CLONE3[column]}
    ours |= X86_ONLY if column == 0 else {}
    assert {name: int(found.get(name, -1)) for name in ours} == ours
