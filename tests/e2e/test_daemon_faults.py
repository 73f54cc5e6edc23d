"""What a daemon survives, against whole processes: signals, disks, files that are not its own, callers of every kind,
bad configurations.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otus_core.control.protocol import REQUEST_MAX
from otus_core.control.server import CONNECTIONS_MAX, WRITE_BUFFER_MAX
from tests import needs
from tests.e2e.node import Node, task
from tests.live.net import OTUS, children_of
from tests.patience import PATIENCE_S, keeps, nearly_all, wait

pytestmark = pytest.mark.slow

SIGNALS = 1000
NOBODY = 65534
SLOW_CALLERS = 500
HONEST_CALLS = 200
HONEST_P99_S = 0.2
GROWTH_MAX_KIB = 32 * 1024
HOSTILE = 5
CROWD_MAX_KIB = (HOSTILE * (2 * REQUEST_MAX + WRITE_BUFFER_MAX) >> 10) + SLOW_CALLERS * 16
"""What the bounds grant to those who are connected at a time: they send a gigabyte. A request is there twice while it
is cut out.
"""


def resident(pid: int) -> int:
    """Memory of a process, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_thousand_hang_ups(node: Node) -> None:
    node.start()
    for _ in range(50):
        os.kill(node.pid, signal.SIGHUP)
        node.rpc("task_list")
    memory, open_before = resident(node.pid), descriptors(node.pid)
    for n in range(SIGNALS):
        os.kill(node.pid, signal.SIGHUP)
        if n % 20 == 0:
            assert node.rpc("daemon_status")["result"]["task_count"] == 0
    node.write("debug")
    os.kill(node.pid, signal.SIGHUP)
    wait(lambda: any(entry.get("changed") == ["log.level"] for entry in node.log()), what="the last one is heard")
    assert resident(node.pid) - memory < GROWTH_MAX_KIB
    wait(lambda: descriptors(node.pid) <= open_before + 1, what="callers' descriptors are given back")


def test_a_storm_of_signals_ends_it_once_and_well(node: Node, examples: Path) -> None:
    node.start()
    node.rpc("task_create", config=json.loads(task(examples / "call.pcap")))
    workers = [worker["pid"] for worker in node.state("t1")["workers"]]
    assert node.process is not None
    until = time.monotonic() + PATIENCE_S
    for n in itertools.count():
        if node.process.poll() is not None or time.monotonic() > until:
            break
        node.process.send_signal((signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[n % 3])
        if n > SIGNALS:  # and on to its very last moment
            time.sleep(0.003)
    assert node.ended() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not os.path.lexists(f"{node.folder}/o.sock")
    assert [entry["event"] for entry in node.log()].count("daemon_stopped") == 1
    node.start()
    wait(lambda: node.runs("t1"), what="the task is back")


def test_two_that_start_at_once(node: Node) -> None:
    command = [OTUS, "daemon", "-c", str(node.config)]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    try:
        wait(lambda: any(one.poll() is not None for one in both), what="one gives up")
        (lost,) = [one for one in both if one.poll() is not None]
        (won,) = [one for one in both if one is not lost]
        assert (lost.returncode, b"another daemon" in (lost.stderr or contextlib.nullcontext()).read()) == (1, True)  # type: ignore[union-attr]
        wait(lambda: node.call("status")[0] == 0)
        assert (node.folder / "o.pid").read_text().strip() == str(won.pid)
    finally:
        for one in both:
            one.kill()
            one.communicate()


def test_what_a_killed_daemon_left_is_taken_over(node: Node) -> None:
    node.start()
    node.end()
    assert os.path.lexists(f"{node.folder}/o.sock")
    (node.folder / "o.pid").write_text("1\n")  # the number of a process that lives and is none of ours
    node.start()
    assert (node.folder / "o.pid").read_text().strip() == str(node.pid)
    (node.folder / "o.pid").write_text("1\n")
    assert node.call("stop")[0] == 0
    assert node.ended() == 0
    assert (node.folder / "o.pid").read_text() == "1\n"  # names somebody else by now: not ours to remove


@pytest.mark.parametrize("kind", ["folder", "link"])
@pytest.mark.parametrize("name", ["o.sock", "o.pid"])
def test_what_is_not_its_own_is_left_alone(node: Node, kind: str, name: str) -> None:
    precious = node.folder / "precious"
    precious.write_text("precious")
    path = node.folder / name
    if kind == "folder":
        (path / "inner").mkdir(parents=True)
    else:
        path.symlink_to(precious)
    done = subprocess.run([OTUS, "daemon", "-c", str(node.config)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert str(path).encode() in done.stderr
    assert (path.is_dir() if kind == "folder" else path.is_symlink(), precious.read_text()) == (True, "precious")


def test_a_configuration_cut_at_any_byte_changes_nothing(node: Node) -> None:
    node.start()
    whole = node.config.read_text().replace("info", "debug")
    as_json = json.dumps({"otus": {"node": {"hostname": "edge-1", "ip": "127.0.0.1"}, "log": {"level": "debug"}}})
    refused = 0
    for size in range(len(as_json)):
        node.config.write_text(as_json[:size])
        answer = node.rpc("config_reload")
        assert str(node.config) in answer["error"]["message"], (as_json[:size], answer)
        refused += 1
    for size in range(len("otus:\n  node: {hostname")):  # later a cut file may well be a whole, smaller one
        node.config.write_text(whole[:size])
        refused += "error" in node.rpc("config_reload")
    assert node.metrics()["otus_config_reload_failures_total", ()] == refused
    events = [entry for entry in node.log() if entry["event"] in ("reloaded", "reload_refused")]
    assert [entry["event"] for entry in events] == ["reload_refused"] * refused
    node.config.write_text(whole)
    assert node.rpc("config_reload")["result"]["changed"] == ["log.level"]


def test_an_id_that_cannot_be_a_file_is_refused(node: Node, examples: Path) -> None:
    node.start()
    for task_id in ("../x", "a/b", ".", "..", "a\0b", "x" * 300, "", " ", "-x", "ä"):
        config = {**json.loads(task(examples / "call.pcap")), "id": task_id}
        assert "id" in node.rpc("task_create", config=config)["error"]["message"], task_id
        assert "error" in node.rpc("task_delete", task_id=task_id), task_id
    assert [path.name for path in (node.folder / "data" / "tasks").iterdir()] == ["finished"]


def test_damaged_task_files_are_set_aside_at_the_start(node: Node, examples: Path) -> None:
    node.start()
    node.rpc("task_create", config=json.loads(task(examples / "call.pcap")))
    node.end()
    folder = node.folder / "data" / "tasks"
    good = (folder / "t1.json").read_bytes()
    damaged = {
        "torn": good[: len(good) // 2],
        "empty": b"",
        "huge": b" " * (3 << 20),
        "foreign": good.replace(b'"version": 1', b'"version": 0'),
        "duplicate": good,
    }
    for name, content in damaged.items():
        (folder / f"{name}.json").write_bytes(content)
    (folder / "linked.json").symlink_to(folder / "t1.json")
    node.start()
    wait(lambda: node.runs("t1"))
    assert node.rpc("task_list")["result"]["tasks"] == ["t1"]
    assert {path.name for path in folder.glob("*.corrupt")} == {f"{name}.json.corrupt" for name in (*damaged, "linked")}
    assert [entry["event"] for entry in node.log()].count("task_file_set_aside") == len(damaged) + 1


@pytest.fixture
def small_disk(node: Node) -> Iterator[Path]:
    """A file system of 128 KiB where the node keeps its data."""
    needs.root()
    folder = node.folder / "data"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "otus-test", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        needs.lacking("tmpfs cannot be mounted")
    yield folder
    node.end()
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room on a file system."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    return path


def settled(path: Path) -> bytes:
    """Give a task's file once it says that the task runs: a thread of its own writes it, after the answer."""
    wait(lambda: b'"state": "running"' in path.read_bytes(), what="the task's file says that it runs")
    return path.read_bytes()


def test_a_full_disk_refuses_a_task_and_keeps_the_others(node: Node, small_disk: Path, examples: Path) -> None:
    node.start()
    config = json.loads(task(examples / "call.pcap"))
    assert "result" in node.rpc("task_create", config=config)
    kept = settled(small_disk / "tasks" / "t1.json")
    filler = fill(small_disk)
    refused = node.rpc("task_create", config={**config, "id": "t2"})
    assert "No space left" in refused["error"]["message"]
    assert node.rpc("task_list")["result"]["tasks"] == ["t1"]
    assert (small_disk / "tasks" / "t1.json").read_bytes() == kept
    assert not list((small_disk / "tasks").glob("*t2*"))
    filler.unlink()
    assert "result" in node.rpc("task_create", config={**config, "id": "t2"})


def test_a_full_disk_refuses_a_delete_and_the_task_stays(node: Node, small_disk: Path, examples: Path) -> None:
    node.start()
    assert "result" in node.rpc("task_create", config=json.loads(task(examples / "call.pcap")))
    kept = settled(small_disk / "tasks" / "t1.json")
    (worker,) = node.state("t1")["workers"]
    filler = fill(small_disk)
    assert "No space left" in node.rpc("task_delete", task_id="t1")["error"]["message"]
    assert (node.state("t1")["state"], node.state("t1")["workers"][0]["pid"]) == ("running", worker["pid"])
    assert (small_disk / "tasks" / "t1.json").read_bytes() == kept
    filler.unlink()
    assert node.rpc("task_delete", task_id="t1")["result"]["status"] == "deleted"
    node.end()
    node.start()
    assert node.rpc("task_list")["result"]["tasks"] == []


def test_a_log_that_cannot_be_written_holds_up_nothing(node: Node, small_disk: Path, examples: Path) -> None:
    node.config.write_text(node.config.read_text().replace(f"{node.folder}/otus.log", f"{small_disk}/log/otus.log"))
    filler = fill(small_disk)
    node.start()
    filler.unlink()
    fill(small_disk)
    node.rpc("task_create", config={**json.loads(task(examples / "call.pcap", speed=0.0))})
    for _ in range(20):
        assert "error" in node.rpc("task_create", config={})
    wait(lambda: node.rpc("daemon_status")["result"]["task_count"] == 0)
    assert node.metrics()["otus_log_lines_dropped_total", ()] > 0


def test_hostile_callers_do_not_slow_honest_ones(node: Node) -> None:
    node.start()
    node.rpc("task_list")
    memory = resident(node.pid)
    keeps(HONEST_P99_S, lambda: nearly_all(among_hostile_ones(node)))
    assert resident(node.pid) - memory < CROWD_MAX_KIB


def among_hostile_ones(node: Node) -> list[float]:
    """Give how long honest calls take."""
    over = threading.Event()
    attacks = [
        threading.Thread(target=attack, args=(f"{node.folder}/o.sock", over))
        for attack in (endless_line, brackets, no_text, never_reads, never_reads)
    ]
    assert len(attacks) == HOSTILE
    hanging = [caller(f"{node.folder}/o.sock") for _ in range(SLOW_CALLERS)]
    for attack in attacks:
        attack.start()
    spent = []
    try:
        for n in range(HONEST_CALLS):
            with contextlib.suppress(OSError):
                hanging[n % SLOW_CALLERS].send(b"{")
            begun = time.monotonic()
            assert node.rpc("task_status")["result"]["count"] == 0
            spent.append(time.monotonic() - begun)
    finally:
        over.set()
        for thread in attacks:
            thread.join(PATIENCE_S)
        for sock in hanging:
            sock.close()
    return spent


def caller(path: str, within: float = PATIENCE_S) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)  # waits while the queue is full, which a socket with a time limit does not
    sock.settimeout(within)
    return sock


def attacked(path: str, over: threading.Event, data: bytes) -> None:
    """Send until let go of, again and again."""
    while not over.is_set():
        with contextlib.suppress(OSError), caller(path, 2.0) as sock:
            for _ in range(100):
                sock.sendall(data)


def endless_line(path: str, over: threading.Event) -> None:
    attacked(path, over, b"x" * (1 << 20))  # 100 MiB without a line end


def brackets(path: str, over: threading.Event) -> None:
    attacked(path, over, b"[" * 100_000 + b"\n")


def no_text(path: str, over: threading.Event) -> None:
    attacked(path, over, b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}\n')


def never_reads(path: str, over: threading.Event) -> None:
    attacked(path, over, b'{"jsonrpc": "2.0", "id": 1, "method": "daemon_status"}\n' * 100)


def test_callers_leave_descriptors_for_the_work(node: Node, examples: Path) -> None:
    node.under = ["prlimit", "--nofile=200:300"]
    node.start()
    crowd = [caller(f"{node.folder}/o.sock") for _ in range(400)]
    try:
        assert "result" in node.rpc("task_create", config=json.loads(task(examples / "call.pcap")))
        assert descriptors(node.pid) < 200
        assert node.state("t1")["state"] == "running"
    finally:
        for sock in crowd:
            sock.close()


def test_a_task_is_made_whole_although_its_caller_is_let_go_of(node: Node, examples: Path) -> None:
    node.start()
    for _ in range(5):  # a task that was made before the crowd had come is made again
        if let_go_of(node, json.loads(task(examples / "call.pcap"))):
            break
        assert node.rpc("task_delete", task_id="t1")["result"]["status"] == "deleted"
    else:
        pytest.fail("the caller was always answered")
    wait(lambda: node.runs("t1"), what="it runs")
    assert node.rpc("task_delete", task_id="t1")["result"]["status"] == "deleted"
    assert node.rpc("task_list")["result"]["count"] == 0


def let_go_of(node: Node, config: dict[str, Any]) -> bool:
    """Ask for a task whose worker is held up, and be let go of before the answer; gives whether it was so."""
    path = f"{node.folder}/o.sock"
    request = {"jsonrpc": "2.0", "id": 1, "method": "task_create", "params": {"config": config}}
    with caller(path) as asking:
        asking.sendall(json.dumps(request).encode() + b"\n")
        wait(lambda: children_of(node.pid), what="it is being made")
        (worker,) = children_of(node.pid)
        os.kill(worker, signal.SIGSTOP)
        try:
            crowd = [caller(path) for _ in range(CONNECTIONS_MAX + 10)]  # costs the most silent caller its connection
            # who comes last is answered last: they have all been let in
            assert node.rpc("task_list")["result"]["count"] == 1
            gone = asking.recv(1) == b""
        finally:
            os.kill(worker, signal.SIGCONT)
        for sock in crowd:
            sock.close()
    return gone


def test_a_system_that_refuses_fails_that_task_alone(node: Node, examples: Path) -> None:
    node.start()
    config = json.loads(task(examples / "call.pcap"))
    assert "result" in node.rpc("task_create", config=config)
    limits = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    seen: list[int] = []

    def at_rest() -> bool:
        """Whether the callers' connections are closed: two looks, half a second apart, count the same."""
        seen.append(descriptors(node.pid))
        time.sleep(0.5)
        return seen[-1] == descriptors(node.pid)

    wait(at_rest, what="the number of descriptors is settled")
    taken = {int(name) for name in os.listdir(f"/proc/{node.pid}/fd")}
    free = [number for number in range(len(taken) + 3) if number not in taken]
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (free[2], limits[1]))  # two more, whatever numbers are free
    refused = node.rpc("task_create", config={**config, "id": "t2"})
    assert "Too many open files" in refused["error"]["message"]
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, limits)
    assert node.rpc("task_list")["result"]["tasks"] == ["t1"]
    assert node.state("t1")["state"] == "running"
    assert "result" in node.rpc("task_create", config={**config, "id": "t2"})


def test_more_workers_than_there_may_be_are_refused(node: Node, examples: Path) -> None:
    node.start()
    config = json.loads(task(examples / "call.pcap"))
    assert "result" in node.rpc("task_create", config={**config, "workers": 3})
    refused = node.rpc("task_create", config={**config, "id": "t2", "workers": 2})
    assert "resources.max_workers" in refused["error"]["message"]
    assert "result" in node.rpc("task_create", config={**config, "id": "t3"})
    assert node.rpc("task_list")["result"]["tasks"] == ["t1", "t3"]


def test_a_folder_for_tasks_that_cannot_be_made_is_named(node: Node) -> None:
    (node.folder / "data").write_text("a file")
    done = subprocess.run([OTUS, "daemon", "-c", str(node.config)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"{node.folder}/data".encode() in done.stderr.splitlines()[-1]
    assert b"internal error" not in done.stderr


def test_another_user_is_refused(node: Node) -> None:
    needs.root()
    node.start()
    for path in (node.folder, *node.folder.parents):
        path.chmod(path.stat().st_mode | 0o001)
    (node.folder / "o.sock").chmod(0o666)  # even so: the kernel says who calls
    child = os.fork()
    if not child:  # another user, who cannot even read this interpreter's files: nothing is imported here
        status = 1
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(f"{node.folder}/o.sock")
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    status = 0
                    sock.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "task_list"}\n')
                    status = 2 if b'"result"' in sock.recv(1000) else 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    wait(lambda: "control_peer_refused" in [entry["event"] for entry in node.log()])
    assert "result" in node.rpc("task_list")
