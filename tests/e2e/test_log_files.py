"""The files of a real daemon: the log that is moved away, that is full, or that nobody reads; modes whatever the umask;
what stands in the place of a file.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.e2e.node import Node, task
from tests.live.net import OTUS
from tests.patience import PATIENCE_S, wait

LOST = ("otus_log_lines_dropped_total", ())
PIPE_BYTES = 1 << 16  # pipe(7)
DAY_S = 86_400


def commanded(path: Path) -> list[str]:
    """The tasks of the commands that a log file tells of, in order."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [entry["task"] for entry in entries if entry["event"] == "command_executed" and entry["task"]]


def test_a_log_that_is_moved_away_loses_nothing(node: Node) -> None:
    """What logrotate does without copytruncate: another name, and then a word to the daemon.

    Even one whose new configuration is wrong.
    """
    node.start()
    log, number = node.folder / "otus.log", 0

    def say(times: int = 3) -> None:
        nonlocal number
        for _ in range(times):
            node.rpc("task_delete", task_id=f"n{number}")
            number += 1

    moved = []
    for n, told in enumerate(("signal", "reload", "signal with a bad file", "reload with a bad file")):
        say()
        moved.append(log.rename(node.folder / f"moved-{n}"))
        say()  # between the two it goes to the file that was moved
        if "bad" in told:
            node.config.write_text("otus: {log: {levle: info}}")
        if "signal" in told:
            os.kill(node.pid, signal.SIGHUP)
        else:
            node.call("reload")
        wait(log.exists, what=f"a new file after {told}")
        say()
    files = [commanded(path) for path in (*moved, log)]
    assert [len(one) for one in files] == [6, 9, 9, 9, 3]
    assert [name for one in files for name in one] == [f"n{n}" for n in range(number)]
    assert mode(log) == 0o640


def test_what_is_too_old_is_removed_at_the_start(node: Node) -> None:
    for name, age_days in (("otus.log.1", 29), ("otus.log.2.gz", 31), ("otus.log.3", 400), ("otus.log.9.gz", 1)):
        (node.folder / name).write_bytes(b"old")
        os.utime(node.folder / name, (time.time() - age_days * DAY_S,) * 2)
    (node.folder / "otus.log.1.gz.tmp").write_bytes(b"half")
    (node.folder / "otus.log.bak").write_bytes(b"not ours")
    node.write("error")  # nothing is logged that could be the occasion
    node.start()
    assert sorted(path.name for path in node.folder.glob("otus.log*")) == ["otus.log.1", "otus.log.bak"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_are_what_they_should_be_whatever_the_umask(node: Node, umask: int, examples: Path) -> None:
    above = node.folder / "a" / "b"
    text = node.config.read_text().replace(f"{node.folder}/otus.log", f"{above}/log/otus.log")
    text = text.replace(f"{node.folder}/data", f"{above}/data").replace(f"{node.folder}/o.", f"{above}/run/o.")
    node.config.write_text(text)
    (node.folder / "o.sock").symlink_to(above / "run" / "o.sock")  # where this test's helpers look for it
    before = os.umask(umask)
    try:
        node.start()
    finally:
        os.umask(before)
    config = json.loads(task(examples / "call.pcap"))
    config["reporters"] = [{"type": "console", "spool": {"path": f"{above}/spool/s"}}]
    assert "result" in node.rpc("task_create", config=config)
    wait(lambda: list((above / "spool" / "s" / "worker-0").iterdir()))
    whole = [path for path in sorted(above.rglob("*")) if path.suffix != ".tmp"]  # one that is being written
    assert {str(path.relative_to(above)): oct(mode(path)) for path in whole} == {
        "data": "0o750",
        "data/daemon.lock": "0o600",
        "data/tasks": "0o750",
        "data/tasks/finished": "0o750",
        "data/tasks/t1.json": "0o640",
        "log": "0o750",
        "log/otus.log": "0o640",
        "run": "0o755",
        "run/o.pid": "0o644",
        "run/o.sock": "0o600",
        "run/o.sock.lock": "0o600",
        "spool": "0o755",
        "spool/s": "0o700",
        "spool/s/worker-0": "0o700",
        "spool/s/worker-0/lock": "0o600",
        "spool/s/worker-0/position": "0o600",
    }
    assert {mode(above), mode(above.parent)} == {0o755}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_log_that_is_put_away_keeps_its_mode(node: Node, umask: int) -> None:
    log = node.folder / "otus.log"
    log.write_bytes(b"x" * 999_999 + b"\n")
    log.chmod(0o640)
    node.config.write_text(node.config.read_text().replace("file: {", "file: {rotation: {max_size_mb: 1}, "))
    before = os.umask(umask)
    try:
        node.start()
    finally:
        os.umask(before)
    packed = node.folder / "otus.log.1.gz"
    wait(packed.exists, what="it is compressed")
    assert (mode(log), mode(packed)) == (0o640, 0o640)
    assert len(gzip.decompress(packed.read_bytes())) == 1_000_000


def test_a_summary_is_not_written_by_others_whatever_the_umask(tmp_path: Path, examples: Path) -> None:
    command = [OTUS, "run", examples / "call.pcap", "--format", "none", "-q", "--summary-json", tmp_path / "s.json"]
    subprocess.run(command, check=True, umask=0)
    assert mode(tmp_path / "s.json") == 0o644


@pytest.fixture
def small_disk(node: Node) -> Iterator[Path]:
    """A file system of 64 KiB for the log."""
    needs.root()
    folder = node.folder / "log"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "otus-test", folder], check=False).returncode:
        needs.lacking("tmpfs cannot be mounted")
    node.config.write_text(node.config.read_text().replace(f"{node.folder}/otus.log", f"{folder}/otus.log"))
    yield folder
    node.end()
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_costs_lines_that_are_counted_and_said_when_there_is_room(node: Node, small_disk: Path) -> None:
    node.start()
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1000))
    assert node.metrics()[LOST] == 0
    for n in range(60):  # more than what the last page had room for
        node.rpc("task_delete", task_id=f"{n}" + "x" * 200)
    lost = int(node.metrics()[LOST])
    assert lost > 0
    filler.unlink()
    for n in range(3):
        node.rpc("task_delete", task_id=f"after{n}")
    entries = [json.loads(line) for line in (small_disk / "otus.log").read_text().splitlines()]  # none is torn
    told = [entry for entry in entries if entry["event"] == "log_lines_lost"]
    assert [(entry["output"], entry["lines"], entry["node"]) for entry in told] == [("file", lost, "edge-1")]
    assert commanded(small_disk / "otus.log")[-3:] == ["after0", "after1", "after2"]
    assert int(node.metrics()[LOST]) == lost
    said = [json.loads(line) for line in (node.folder / "errors").read_text().splitlines()]
    failed = [entry for entry in said if entry["event"] == "log_output_failed"]
    assert [(entry["output"], "No space left" in entry["reason"]) for entry in failed] == [("file", True)]
    assert len([entry for entry in said if entry["event"] == "command_executed"]) >= 63  # the other output has them all


def test_standard_error_that_nobody_reads_holds_up_nothing(node: Node) -> None:
    process = subprocess.Popen([OTUS, "daemon", "-c", node.config], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        node.process = process
        wait(lambda: node.call("status")[0] == 0, what="the daemon answers")
        asked = 0
        while node.metrics()[LOST] == 0:
            for _ in range(200):
                assert "error" in node.rpc("task_delete", task_id=f"n{asked}" + "x" * 500)
                asked += 1
            assert asked < 10_000
        assert commanded(node.folder / "otus.log")[-1].startswith(f"n{asked - 1}x")
        lost = int(node.metrics()[LOST])
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        read = bytearray()

        def said() -> bool:
            node.rpc("task_delete", task_id="again")
            read.extend(process.stderr.read() or b"")  # type: ignore[union-attr]
            return b"log_lines_lost" in read[: read.rfind(b"\n") + 1]  # its line is there whole

        wait(said, what="what was lost is said")
        assert len(read) > PIPE_BYTES
        whole = bytes(read[: read.rfind(b"\n") + 1]).splitlines()
        entries: list[dict[str, Any]] = [json.loads(line) for line in whole]
        told = [entry for entry in entries if entry["event"] == "log_lines_lost"]
        assert [(entry["output"], entry["lines"] >= lost) for entry in told] == [("stderr", True)]
        assert node.rpc("daemon_shutdown")["result"]
        assert process.wait(PATIENCE_S) == 0  # and does not wait for a reader at its end
    finally:
        process.kill()
        process.communicate()


PLACES = [*product(("o.pid", "o.sock.lock", "data/daemon.lock"), ("pipe", "folder", "link")), ("o.pid", "foreign")]


@pytest.mark.parametrize(("name", "what"), PLACES)
def test_what_stands_in_the_place_of_a_file_is_told_at_once(node: Node, name: str, what: str) -> None:
    path, precious = node.folder / name, node.folder / "precious"
    path.parent.mkdir(exist_ok=True)
    precious.write_text("precious\n")
    match what:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(precious)
        case "foreign":
            path.write_text("precious\n")
    done = subprocess.run(
        [OTUS, "daemon", "-c", node.config], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    reason = {
        "pipe": "is not a regular file",
        "folder": "is not a regular file",
        "link": "is a symbolic link, which is not followed",
        "foreign": "is there and does not hold a process id; remove it or choose another path",
    }[what]
    assert last.startswith("otus: ") and str(path) in last and last.endswith(reason), done.stderr
    assert "Traceback" not in done.stderr
    assert precious.read_text() == "precious\n"
    assert not os.path.lexists(f"{node.folder}/o.sock")


def test_a_log_that_is_a_pipe_or_a_link_is_said_and_holds_up_nothing(node: Node) -> None:
    os.mkfifo(node.folder / "otus.log")
    node.start()

    def complaints() -> list[dict[str, Any]]:
        said = [json.loads(line) for line in (node.folder / "errors").read_text().splitlines()]
        return [entry for entry in said if entry["event"] == "log_output_failed"]

    wait(complaints, what="it is said")  # it answers before it has written its log
    (failed,) = complaints()
    assert failed["reason"] == f"{node.folder}/otus.log: is not a regular file"
    assert node.metrics()[LOST] > 0
