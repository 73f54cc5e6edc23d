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

from otus_core.process.seccomp import CLONE, CLONE3, REFUSED, X86_ONLY
from otus_core.testing.packets import udp
from tests import needs
from tests.e2e.node import Node, task
from tests.live.net import OTUS, at_rest, children_of, has_ring
from tests.patience import PATIENCE_S, wait
from tests.pcap.files import pcap

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
    command = f".{module} import main".encode()
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


def test_workers_of_files_have_no_privilege(tmp_path: Path) -> None:
    """Of many pairs of addresses each worker has some, and so goes on reading at this speed."""
    frames = [udp(b"SIP/2.0 200 OK", src=f"192.0.2.{n}") for n in range(1, 17)]
    (tmp_path / "pairs").write_bytes(pcap(2 * frames))
    with running(tmp_path / "pairs", "--workers", 2, "--speed", 0.01) as process:
        wait(
            lambda: len([pid for pid in helpers(process.pid, "child") if is_sealed(pid)]) == 2,
            what="two workers",
        )
        for pid in helpers(process.pid, "child"):
            sealed(pid)


def test_a_run_of_one_process_has_none_either(call: Path, tmp_path: Path) -> None:
    """Its files are open by then, the summary's too, which root's name alone would no longer open."""
    summary = folder_of_another(tmp_path) / "summary.json"
    with running(call, "--speed", 0.01, "--summary-json", summary) as process:
        wait(lambda: is_sealed(process.pid), what="it has given up what it had")
        sealed(process.pid)
        at_rest(process.pid)
    assert json.loads(summary.read_text())["unaccounted"] == 0


def folder_of_another(tmp_path: Path) -> Path:
    """Give a folder that is another user's alone, where that can be."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(folder, 4321, 4321)
    return folder


def test_a_summary_that_is_there_stays_until_there_is_another(call: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    summary.write_text("x" * 100_000)
    assert subprocess.run(
        [OTUS, "run", tmp_path / "none.pcap", "-q", "--summary-json", summary], check=False
    ).returncode
    assert subprocess.run([OTUS, "run", call, "-q", "--format", "none", "--summary-json", summary], check=True)
    assert json.loads(summary.read_text())["unaccounted"] == 0


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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_root_reads_others_files(call: Path, tmp_path: Path, workers: str) -> None:
    """The files are opened first: who has given up root's rights could not."""
    needs.root()
    closed = folder_of_another(tmp_path)
    (closed / "call.pcap").write_bytes(call.read_bytes())
    (closed / "call.pcap").chmod(0o600)
    os.chown(closed / "call.pcap", 4321, 4321)
    done = subprocess.run(
        [OTUS, "run", closed / "call.pcap", "-w", workers, "--format", "json"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.count(b"\n") > 5) == (0, True), done.stderr


def test_workers_become_the_user_that_is_told(call: Path) -> None:
    needs.root()
    readable()
    with running(call, "--workers", 2, "--speed", 0.01, "--user", "nobody") as process:
        wait(
            lambda: len([pid for pid in helpers(process.pid, "child") if is_sealed(pid)]) == 2,
            what="two workers",
        )
        for pid in helpers(process.pid, "child"):
            sealed(pid)
            assert set(status(pid)["Uid"].split()) == {"65534"}


def test_a_run_of_one_process_becomes_the_user_that_is_told(call: Path, tmp_path: Path) -> None:
    """It reads, reports and writes its summary, and does not end with its parent: nobody asked for that."""
    needs.root()
    readable()
    arguments = ("-w", "1", "--speed", "0.01", "--user", "nobody", "--summary-json", tmp_path / "summary.json")
    with running(call, *arguments) as process:
        wait(lambda: is_sealed(process.pid), what="it has given up what it had")
        sealed(process.pid)
        assert set(status(process.pid)["Uid"].split()) == {"65534"}
        at_rest(process.pid)
    assert (tmp_path / "summary.json").stat().st_size > 100


def test_a_run_that_became_another_user_outlives_its_parent(call: Path, tmp_path: Path) -> None:
    needs.root()
    readable()
    line = f"{OTUS} run {call} -q --speed 0.01 --user nobody --format none >/dev/null & echo $!; read _"
    with subprocess.Popen(["sh", "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        wait(lambda: is_sealed(pid), what="it has given up what it had")
        shell.communicate()
    at_rest(pid)
    os.kill(pid, signal.SIGINT)


def readable() -> None:
    if Path(sys.executable).resolve().is_relative_to("/root"):
        pytest.skip("nobody but root can read this Python")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_user_that_does_not_exist_is_told(call: Path, workers: str) -> None:
    command = [OTUS, "run", call, "-w", workers, "--user", "nobody-at-all"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, b"there is no user 'nobody-at-all'" in done.stderr) == (1, True), done.stderr


TRY = """
import ctypes, os, subprocess, threading
from otus_core.process.privilege import seal
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


OPEN = """
import os, socket, sys
from otus_core.process import kernel, privilege
from otus_core.task.spec import ComponentSpec
RAW = 1 << privilege.CAP_NET_RAW
privilege.set_capabilities(0, int(sys.argv[1]), 0)
def sets():
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
    told = [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh")]
    assert kernel.get_capabilities() == tuple(told), kernel.get_capabilities()
    return told
def call(capture, shard, shards, state):
    return [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).detach()]
privilege.call_acquire = call
print(sets())
try:
    print(len(privilege.acquire(None)), sets())
except PermissionError:
    print("refused", sets())
privilege.seal()
print(sets())
"""


@pytest.mark.parametrize(("permitted", "opened"), [(NET_RAW, "1"), (0, "refused")])
def test_what_a_program_file_permits_is_in_force_while_sources_are_opened(permitted: int, opened: str) -> None:
    """As in the container image, whose file cannot say that it is in force: it has to start without it, too."""
    needs.root()
    command = [sys.executable, "-c", OPEN, str(permitted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expected = [f"[0, {permitted}, 0]", f"{opened} [{permitted}, {permitted}, 0]", "[0, 0, 0]"]
    assert done.stdout.splitlines() == expected, done.stderr


SETS = """
import sys
from otus_core.process import kernel
kernel.set_capabilities(*map(int, sys.argv[1:]))
print(*kernel.get_capabilities())
print(*(int(line.split()[1], 16) for line in open("/proc/self/status") if line[:6] in ("CapInh", "CapPrm", "CapEff")))
"""


@pytest.mark.parametrize("high", [0, 1 << 38])
def test_capabilities_are_read_as_the_kernel_shows_them(high: int) -> None:
    """Each set differs from the others; CAP_PERFMON is in the second half of the bits."""
    needs.root()
    sets = [NET_RAW | high, NET_RAW | high | 1, NET_RAW | 1]
    command = [sys.executable, "-c", SETS, *map(str, sets)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    effective, permitted, inheritable = sets
    expected = [f"{effective} {permitted} {inheritable}", f"{inheritable} {permitted} {effective}"]
    assert done.stdout.splitlines() == expected, done.stderr


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
