"""Network namespaces and veth pairs for tests, and what happens in them: nothing leaves the machine."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests import needs
from tests.patience import PATIENCE_S, wait

OTUS = str(Path(sys.executable).with_name("otus"))
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def run_otus(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an ``otus`` command to its end."""
    return subprocess.run([OTUS, *arguments], capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)


def control(folder: Path, *arguments: str, text: str | None = None) -> tuple[int, Any, str]:
    """Run an ``otus`` command against the daemon whose socket is in ``folder``; gives exit status, the JSON answer, and
    standard error.
    """
    done = subprocess.run(
        [OTUS, "--socket", f"{folder}/o.sock", "--output", "json", *arguments],
        capture_output=True,
        input=text,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def ask(folder: Path, method: str, **params: Any) -> dict[str, Any]:
    """Ask the daemon whose socket is in ``folder`` without a process of its own; gives the whole answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(f"{folder}/o.sock")
        sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        with sock.makefile("rb") as answer:
            told: dict[str, Any] = json.loads(answer.readline())
            return told


def answers(folder: Path) -> bool:
    """Whether a daemon answers there, whatever it says."""
    try:
        return bool(ask(folder, "daemon_status"))
    except (OSError, ValueError):  # its socket is not there yet, or it is the one that a dead daemon left
        return False


@contextmanager
def sipp_answers(address: str, folder: Path, namespace: str = "", transport: str = "u1") -> Iterator[None]:
    """Have sipp answer calls on port 5060, in a namespace or here; ``transport`` as sipp names it."""
    needs.tool("sipp")
    prefix = ("ip", "netns", "exec", namespace) if namespace else ()
    place = b" %08X:13C4 " % int.from_bytes(socket.inet_aton(address), sys.byteorder)  # another's sipp is no sign
    command = (*prefix, "sipp", "-sn", "uas", "-i", address, "-p", "5060", "-nostdin", "-t", transport)
    answering = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listens() -> bool:
        sockets = "/proc/net/udp" if transport.startswith("u") else "/proc/net/tcp"
        table = subprocess.run((*prefix, "cat", sockets), capture_output=True, check=True).stdout
        return place in table.upper()

    try:
        wait(listens, what="sipp answers")
        yield
    finally:
        answering.kill()
        answering.wait()


class Pair:
    """Two namespaces joined by a veth pair: ``near``, where Otus captures from ``eth0``, and ``far``."""

    NEAR, FAR = "10.99.0.1", "10.99.0.2"
    MACS = ("02:00:00:00:99:01", "02:00:00:00:99:02")

    def __init__(self, name: str) -> None:
        needs.root()
        needs.tool("ip")
        self.near, self.far = f"{name}n", f"{name}f"
        for namespace in (self.near, self.far):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        self.connect()

    def connect(self) -> None:
        ends = [("eth0", "address", mac, "netns", name) for mac, name in zip(self.MACS, self.ends(), strict=True)]
        ip("link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
        self.address()

    def address(self) -> None:
        """Give both ends their addresses, and bring them up."""
        for namespace, address in zip(self.ends(), (self.NEAR, self.FAR), strict=True):
            ip("-n", namespace, "link", "set", "eth0", "mtu", "1500")
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            # the machine's own chatter would be captured too
            self.run(namespace, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
            ip("-n", namespace, "link", "set", "eth0", "up")
        for namespace, there, mac in zip(self.ends(), (self.FAR, self.NEAR), reversed(self.MACS), strict=True):
            # nobody asks who has an address, seconds after a packet: that would be captured too
            ip("-n", namespace, "neigh", "replace", there, "lladdr", mac, "dev", "eth0", "nud", "permanent")

    def ends(self) -> tuple[str, str]:
        return self.near, self.far

    def disconnect(self) -> None:
        ip("-n", self.near, "link", "del", "eth0")

    def link(self, state: str) -> None:
        ip("-n", self.near, "link", "set", "eth0", state)
        if state == "up":  # until the far end knows, the kernel throws away what is sent there
            wait(lambda: self.run(self.far, "cat", "/sys/class/net/eth0/operstate").stdout == b"up\n", what="it is up")

    def sent(self) -> int:
        """Count the UDP datagrams that were sent from either end, as the kernel does."""
        total = 0
        for namespace in (self.near, self.far):
            names, values = (
                line.split()
                for line in self.run(namespace, "cat", "/proc/net/snmp").stdout.splitlines()
                if line.startswith(b"Udp:")
            )
            total += int(values[names.index(b"OutDatagrams")])
        return total

    def run(self, namespace: str, *command: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            ["ip", "netns", "exec", namespace, *map(str, command)], capture_output=True, check=False, **options
        )
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def popen(self, namespace: str, *command: object, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["ip", "netns", "exec", namespace, *map(str, command)], **options)

    def inside(self, namespace: str, work: Callable[[], T]) -> T:
        """Do something in a namespace; the sockets made there stay there."""
        result: list[T] = []
        failure: list[BaseException] = []

        def enter() -> None:
            try:
                with open(f"/var/run/netns/{namespace}", "rb") as handle:
                    assert _libc.setns(handle.fileno(), CLONE_NEWNET) == 0, ctypes.get_errno()
                result.append(work())
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return result[0]

    def wire(self) -> socket.socket:
        """Give a raw socket on the far end: what is sent into it comes out of the near ``eth0``, byte for byte."""

        def make() -> socket.socket:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.bind(("eth0", 0))
            return sock

        return self.inside(self.far, make)

    def send(self, frames: Sequence[bytes]) -> None:
        """Send frames into the wire."""
        with self.wire() as wire:
            for frame in frames:
                wire.send(frame)

    def remove(self) -> None:
        for namespace in (self.near, self.far):
            pids = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
            for pid in pids.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


class Run:
    """``otus run`` in the near namespace."""

    def __init__(self, pair: Pair, folder: Path, *arguments: object, namespace: str = "", workers: int = 1) -> None:
        self._pair = pair
        self._summary = folder / f"summary-{time.monotonic_ns()}.json"
        self._out = folder / f"out-{time.monotonic_ns()}"
        self._err = folder / f"err-{time.monotonic_ns()}"
        if "-i" not in arguments and "--task" not in arguments:
            arguments = ("-i", "eth0", *arguments)
        command = (OTUS, "run", *arguments, "--summary-json", self._summary)
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = pair.popen(namespace or pair.near, *command, stdout=out, stderr=err)
        self.workers = workers

    def started(self) -> Run:
        """Wait until every worker has mapped its ring, has said so, and was heard: what stops before that has not
        started.
        """
        wait(lambda: len(self.rings()) == self.workers or self.process.poll() is not None, what="worker")
        assert self.process.poll() is None, self.errors()
        for pid in (*self.rings(), self.process.pid):
            at_rest(pid)
        return self

    def children(self) -> list[int]:
        """The worker processes."""
        found = []
        for pid in children_of(self.process.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"otus_core.worker.child" in command:
                found.append(pid)
        return sorted(found)

    def rings(self) -> list[int]:
        """The workers that have mapped their ring."""
        return [pid for pid in self.children() if has_ring(pid)]

    def stop(self, number: int = signal.SIGINT, *, status: int | None = 0) -> dict[str, Any]:
        """End the run well, with this exit status unless any will do (None); gives the summary."""
        self.process.send_signal(number)
        ended = self.process.wait(timeout=2 * PATIENCE_S)
        assert status is None or ended == status, (ended, self.errors())
        summary: dict[str, Any] = json.loads(self._summary.read_text())
        return summary

    def lines(self) -> list[bytes]:
        """Every line that has come out whole."""
        return self._out.read_bytes().rpartition(b"\n")[0].splitlines()

    def outputs(self) -> list[dict[str, Any]]:
        """What was reported, with ``--format json``."""
        return [json.loads(line) for line in self.lines()]

    def errors(self) -> str:
        return self._err.read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def has_ring(pid: int) -> bool:
    """Whether the process has mapped a socket's memory."""
    try:
        return "socket:[" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def at_rest(pid: int) -> None:
    """Wait until an event loop has had nothing to do a few times: what it had begun before is done, and counted."""
    before = _turns(pid)
    wait(lambda: _turns(pid) >= before + 5, what="it is at rest")


def _turns(pid: int) -> int:
    """How often a process has gone to sleep by itself."""
    return int(Path(f"/proc/{pid}/status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])


def killed(pid: int) -> None:
    """Kill a process, and wait until it runs no more."""
    os.kill(pid, signal.SIGKILL)
    wait(lambda: is_zombie(pid), what="it is dead")


def is_zombie(pid: int) -> bool:
    """Whether a process has ended, seen to or not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(") ")[2].startswith("Z")
    except OSError:
        return True


def own_memory(pid: int) -> int:
    """Bytes of a process's memory beside files and rings."""
    _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")


def accounted(summary: dict[str, Any]) -> None:
    """See to it that every frame that the kernel handed over is in exactly one counter."""
    assert summary["unaccounted"] == 0, summary
    assert summary["in_ring"] == 0, summary
    offered = summary["kernel_rx"] - summary["kernel_drop"] - summary["excluded_own"]
    assert offered == summary["frames_read"], summary
