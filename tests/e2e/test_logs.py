"""The log of a real daemon: who commanded what, whatever way it came; what debug level shows; the node in every line,
whichever process it is from.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

from otus_core.control.client import call
from otus_core.errors import OtusError
from tests import needs
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node, task
from tests.patience import PATIENCE_S, free_port, wait

NOBODY = 65534
PLUGIN = """
import otus_core

@otus_core.configuration
class Place:
    port: int = otus_core.option(help="Where it listens.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Capturer(name="chatty", factory="chatty_parts:Source", live=True, privileged=True,
                             summary="A frame now and then")
    yield otus_core.Parser(name="chatty", factory="chatty_parts:Parser", payload_types=("chat",),
                           summary="Takes every packet")
    yield otus_core.CommandChannel(name="lines", factory="chatty_parts:Channel", config=Place,
                                   summary="A line of JSON is a command")
"""
PARTS = """
import asyncio, json, logging, os, threading, time
import structlog
import otus_core
from otus_core.testing import packets

class Source(otus_core.BaseCapturer):
    @staticmethod
    def acquire(config, shard, shards, state):
        otus_core.Logger("chatty").info("opener_speaks", shard=shard)
        return [os.open("/dev/null", os.O_RDONLY)]
    def __init__(self, config): self._given, self._halted = 0, False
    def read(self):
        if self._halted: return None
        self._given += 1
        return otus_core.FrameBatch.from_frames([(time.time_ns(),
                                                  packets.udp(b"chat", src_port=1024 + self._given % 50000))])
    def wait_hint(self): return 0.01
    def halt(self): self._halted = True

class Parser(otus_core.BaseParser):
    def __init__(self, config):
        otus_core.Logger("chatty").info("worker_speaks")
        structlog.get_logger().warning("worker_speaks_by_structlog", odd=b"\\x1b[31m", back="a\\\\b")
        logging.getLogger("chatty.library").warning("worker's %s speaks", "library")
        threading.Thread(target=lambda: 1 / 0, name="unlucky").start()
    def can_handle(self, packet): return True
    def handle(self, packet): return otus_core.Parsed({}, {})

class Channel(otus_core.BaseCommandChannel):
    def __init__(self, config): self._port = config.port
    async def start(self, handler):
        logging.getLogger("chatty.library").error("daemon's library speaks")
        async def called(reader, writer):
            while line := await reader.readline():
                message = json.loads(line)
                lies = {"command": "a lie", "event": "another"}
                with otus_core.calling({"principal": message["who"], "seat": 7, **lies}):
                    answer = await handler(message["command"], message["payload"])
                writer.write(json.dumps(answer).encode() + b"\\n")
            writer.close()
        async def asks_itself():
            with otus_core.calling({"principal": "itself"}, routine=True):
                await handler("daemon_status", {})
        await asks_itself()
        self._server = await asyncio.start_server(called, "127.0.0.1", self._port)
    async def stop(self): self._server.close()
"""


def commands(node: Node) -> list[dict[str, Any]]:
    """What was commanded, without what differs from run to run."""
    told = [entry for entry in node.log() if entry["event"] == "command_executed"]
    return [{key: value for key, value in entry.items() if key not in ("timestamp", "event")} for entry in told]


def test_each_command_is_logged_with_who_what_and_result(node: Node, examples: Path) -> None:
    node.start()
    node.rpc("task_create", config=json.loads(task(examples / "call.pcap")))
    node.rpc("task_create", task=json.loads(task(examples / "call.pcap", "t2")))
    node.rpc("task_create", config={"id": "bad"})
    node.rpc("task_delete", task_id="no\x1bsuch")
    node.rpc("task_list")
    who = {"channel": "control", "uid": os.getuid(), "node": "edge-1", "level": "info"}
    *created, bad, deleted = commands(node)
    assert created == [{**who, "command": "task_create", "task": task_id, "result": "done"} for task_id in ("t1", "t2")]
    assert (bad["task"], bad["result"], "capture" in bad["error"]) == ("bad", "error", True)
    assert deleted == {
        **who,
        "command": "task_delete",
        "task": "no\\x1bsuch",
        "result": "error",
        "error": "there is no task 'no\\\\x1bsuch'",
    }
    node.write("debug")
    assert node.rpc("config_reload")["result"]["changed"] == ["log.level"]
    node.rpc("task_list")
    wait(lambda: commands(node)[-1] == {**who, "level": "debug", "command": "task_list", "task": "", "result": "done"})
    wait(lambda: node.log()[-1]["event"] == "answer_written")
    written = [entry for entry in node.log() if entry["event"] == "answer_written" and entry["command"] == "task_list"]
    assert {(entry["uid"], entry["channel"], entry["bytes"] > 20) for entry in written} == {
        (os.getuid(), "control", True)
    }


def test_debug_level_shows_states_and_slices_and_never_a_packet(node: Node, examples: Path) -> None:
    node.start()
    node.rpc("task_create", config=json.loads(task(examples / "call.pcap")))
    assert not [entry for entry in node.log() if entry["level"] == "debug"]
    node.write("debug")
    node.rpc("config_reload")  # workers that run hear of it too
    wait(lambda: len(slices(node)) >= 3, what="figures of three seconds")
    told = slices(node)
    assert {(entry["task"], entry["worker"], entry["node"]) for entry in told} == {("t1", 0, "edge-1")}
    assert all(entry["seconds"] >= 1.0 for entry in told)
    assert told[0]["frames"] == node.state("t1")["counters"]["frames_read"] - sum(one["frames"] for one in told[1:])
    node.rpc("task_create", config=json.loads(task(examples / "call.pcap", "t2", speed=0.0)))
    wait(lambda: any(entry["event"] == "worker_state" and entry["new"] == "ended" for entry in node.log()))
    states = [(entry["old"], entry["new"]) for entry in node.log() if entry["event"] == "worker_state"]
    assert states == [("starting", "running"), ("running", "ended")]
    node.write("info")
    node.rpc("config_reload")
    node.rpc("task_list")
    quiet = len(slices(node))
    begun = time.monotonic()
    wait(lambda: time.monotonic() - begun > 1.5)  # a worker that had not heard of it would have told its figures again
    assert len(slices(node)) == quiet


def slices(node: Node) -> list[dict[str, Any]]:
    return [entry for entry in node.log() if entry["event"] == "slices"]


def test_every_line_carries_the_node_whatever_wrote_it(node: Node, tmp_path: Path) -> None:
    needs.root()
    site, port = Site(folder=tmp_path), free_port()
    site.install("otus-plugin-chatty", PLUGIN, modules={"chatty_parts": PARTS})
    channel = f"  command_channel: {{enabled: true, type: lines, options: {{port: {port}}}}}\n"
    node.write("debug", channel)
    node.start(PYTHONPATH=str(tmp_path))
    wait(lambda: "command_executed" in {entry["event"] for entry in node.log()}, what="the channel asks")
    config = {"id": "c1", "capture": {"type": "chatty"}, "parsers": ["chatty"], "reporters": ["discard"]}
    assert "result" in asked(port, "task_create", {"config": config})
    assert "result" in asked(port, "task_list", {})
    assert "error" in asked(port, "task_delete", {"task_id": "none"})
    wait(lambda: len(slices(node)) >= 1)
    entries = node.log()
    assert {entry.get("node") for entry in entries} == {"edge-1"}
    events = Counter(entry["event"] for entry in entries)
    for event in ("opener_speaks", "worker_speaks", "worker_speaks_by_structlog", "thread_died", "task_state"):
        assert events[event] == 1 or event == "task_state", (event, events)
    (opener,) = [entry for entry in entries if entry["event"] == "opener_speaks"]
    assert (opener["task"], opener["process"], opener["shard"]) == ("c1", "opener", 0)
    (odd,) = [entry for entry in entries if entry["event"] == "worker_speaks_by_structlog"]
    assert (odd["odd"], odd["back"]) == ("\\x1b[31m", "a\\\\b")  # escaped, and once
    library = {entry["message"]: entry for entry in entries if entry["event"] == "library_message"}
    assert set(library) == {"worker's library speaks", "daemon's library speaks"}
    assert library["worker's library speaks"]["worker"] == 0
    (died,) = [entry for entry in entries if entry["event"] == "thread_died"]
    assert (died["thread"], died["worker"], "ZeroDivisionError" in died["exception"]) == ("unlucky", 0, True)
    heard = [entry for entry in commands(node) if entry["channel"] == "lines"]
    assert [(e["principal"], e.get("seat"), e["command"], e["task"], e["result"], e["level"]) for e in heard] == [
        ("itself", None, "daemon_status", "", "done", "debug"),
        ("alice", 7, "task_create", "c1", "done", "info"),
        ("alice", 7, "task_list", "", "done", "info"),
        ("alice", 7, "task_delete", "none", "error", "info"),
    ]
    assert not [line for line in (node.folder / "errors").read_bytes().splitlines() if not line.startswith(b"{")]


def asked(port: int, command: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Command over the third party's channel."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        sock.sendall(json.dumps({"who": "alice", "command": command, "payload": payload}).encode() + b"\n")
        with sock.makefile("rb") as answer:
            return dict(json.loads(answer.readline()))


def test_lines_for_people_carry_the_node_too(node: Node, examples: Path) -> None:
    node.config.write_text(node.config.read_text().replace("log: {", "log: {format: text, "))
    node.start()
    node.rpc("task_create", config=json.loads(task(examples / "call.pcap")))
    lines = (node.folder / "otus.log").read_text().splitlines()
    assert lines
    assert all("node=edge-1" in line for line in lines), lines
    assert any("command_executed" in line and f"uid={os.getuid()}" in line for line in lines)


def test_a_user_who_may_not_is_told_so(node: Node) -> None:
    needs.root()
    node.start()
    for path in (node.folder, *node.folder.parents):
        path.chmod(path.stat().st_mode | 0o001)
    (node.folder / "o.sock").chmod(0o666)  # even so: the kernel says who calls
    reader, writer = os.pipe()
    child = os.fork()
    if not child:  # another user, who cannot even read this interpreter's files: nothing is imported here
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            for _ in range(20):
                try:
                    call(Path(f"{node.folder}/o.sock"), "task_list", {"padding": "x" * 500_000})
                except OtusError as error:
                    os.write(writer, f"{error}\n".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        lines = told.read().splitlines()
    assert lines == [f"uid {NOBODY} is not allowed to command this daemon: it answers to root only"] * 20
    refused = [entry for entry in node.log() if entry["event"] == "control_peer_refused"]
    assert [entry["uid"] for entry in refused[:1]] == [NOBODY]
    assert len(refused) < 20
    assert "result" in node.rpc("task_list")
