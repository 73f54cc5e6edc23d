"""``otus status`` as probes and people use it, on real daemons in every state that it is to tell of."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import needs
from tests.core.plugins.distributions import Site
from tests.deploy.moody import PARTS, PLUGIN
from tests.e2e.node import Node
from tests.live.net import OTUS
from tests.patience import free_port, wait

LONG = "\x1b[2J\x1b]0;owned\x07 the far end\nhung up \u202e" + "x" * 100_000
WIDEST = 250
PYTHON = re.compile(r"\b(None|True(?! or false)|False|nan)\b|\(\)|\('|\{'|Errno")
RAW = re.compile(r"[\[{][\]}]|_at\b|_sec\b|\d\.\d{3,}")
"""Empty containers, keys and bare seconds; defaults of options are YAML, where the first belong."""


def otus(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [OTUS, "--socket", f"{node.folder}/o.sock", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def status(node: Node, *arguments: str) -> int:
    return otus(node, "status", *arguments).returncode


class Moods:
    """A daemon with a task of moody components, and the folder of files that make its moods."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node, self.folder = node, folder
        options = {"folder": str(folder)}
        reporter = {"capacity": 50, "batch_size": 10, "batch_timeout": "50ms", "send_timeout": "10m"}
        self.task: dict[str, Any] = {
            "id": "moody",
            "capture": {"type": "moody", **options},
            "parsers": [{"type": "moody", "config": options}],
            "reporters": [{"type": "moody", "config": options, **reporter}],
        }
        answer = node.rpc("task_create", config=self.task)
        assert "result" in answer, answer

    def begin(self, mood: str, words: str = "") -> None:
        (self.folder / mood).write_text(words)

    def end(self, mood: str) -> None:
        (self.folder / mood).unlink()
        self.node.rpc("task_start", task_id="moody")  # a failed one would be tried again some time


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moods]:
    site, folder = tmp_path_factory.mktemp("s"), tmp_path_factory.mktemp("m")
    Site(folder=site).install("otus-plugin-moody", PLUGIN, modules={"moody_parts": PARTS})
    node = Node(tmp_path_factory.mktemp("n"))
    node.start(PYTHONPATH=str(site))
    try:
        yield Moods(node, folder)
    finally:
        node.end()


@pytest.mark.parametrize(
    ("mood", "words", "expected"),
    [
        ("troubled", "eth7: the interface is gone", "task moody: eth7: the interface is gone"),
        ("away", "nobody listens there", "task moody: reporter moody: nobody listens there"),
        ("dying", "", r"task moody: worker died: exit status 7"),
        ("fatal", "", "task moody: moody: has had enough"),
        ("raising", "", "task moody: reporter moody has failed again and again and is cut off"),
        ("slow", "", r"task moody: reporter moody: its send buffer is \d+ % full"),
    ],
)
def test_what_is_down_is_told_and_makes_the_status_1(moods: Moods, mood: str, words: str, expected: str) -> None:
    node = moods.node
    wait(lambda: status(node, "--quiet") == 0, what="all is well")
    moods.begin(mood, words)
    try:
        wait(lambda: re.search(expected, otus(node, "status").stdout), what=expected)
        wait(lambda: status(node, "-q") == 1, what="the probe sees it")
        assert status(node, "--alive") == 0
        troubles = json.loads(otus(node, "status", "--output", "json").stdout)["troubles"]
        assert all(trouble["task"] == "moody" for trouble in troubles)
    finally:
        moods.end(mood)
    wait(lambda: status(node) == 0, what="all is well again")


@pytest.mark.parametrize("arguments", [("-q",), ("--quiet", "--alive"), ("-q", "--output", "json")])
def test_quiet_prints_nothing(moods: Moods, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = otus(moods.node, "status", *arguments)
    assert (done.stdout, done.stderr) == ("", "")
    nobody = Node(tmp_path)
    done = otus(nobody, "status", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


def test_words_from_outside_are_bounded_and_harmless_on_a_terminal(moods: Moods) -> None:
    """What a capturer and a reporter say is in every text that tells of their task, and obeys no terminal's rules."""
    for mood in ("troubled", "away"):
        moods.begin(mood, f"{mood} {LONG}")
    try:
        wait(lambda: len(moods.node.state("moody")["troubles"]) == 2, what="both are told")
        for command in (("status",), ("stats",), ("task", "list"), ("task", "status"), ("task", "status", "moody")):
            text = otus(moods.node, *command).stdout
            assert re.search(r"troubled \\+x1b\[2J", text), command
            assert "away " in text or "(and 1 more)" in text
            assert all(line.isprintable() and len(line) <= WIDEST for line in text.splitlines()), command
        logged = [entry for entry in moods.node.log() if entry["event"] == "capture_trouble"]
        assert 0 < len(logged[-1]["reason"]) < 1000
    finally:
        for mood in ("troubled", "away"):
            moods.end(mood)


def test_no_text_speaks_python(moods: Moods) -> None:
    """Every text of the daemon's commands is in words, whatever state things are in."""
    node = moods.node
    node.rpc("task_create", config={**moods.task, "id": "absent", "capture": {"type": "afpacket", "interface": "no0"}})
    node.rpc("task_create", config={**moods.task, "id": "gone", "capture": {"type": "pcap", "files": ["/none.pcap"]}})
    moods.begin("away", "nobody listens there")
    try:
        wait(lambda: len(otus(node, "status").stdout.split("no such interface")) > 1, what="one waits")
        commands = [
            *(("status",), ("status", "--alive"), ("stats",), ("task", "list", "--history"), ("task", "status")),
            *(("task", "status", task_id) for task_id in ("moody", "absent", "gone")),
            *(("plugins", "show", f"{kind}:kafka") for kind in ("reporter", "command_channel")),
            *(("plugins", "show", name) for name in ("sip", "pcap", "afpacket", "filter", "console")),
        ]
        for command in commands:
            text = otus(node, *command).stdout
            assert text, command
            assert not PYTHON.search(text), text
            assert command[0] == "plugins" or not RAW.search(text), text
        assert 'session_ttl = "1d"' in otus(node, "plugins", "show", "sip").stdout
        assert "batch timeout: 50ms" in otus(node, "plugins", "show", "console").stdout
        effective = otus(node, "config", "show", "--effective", "-c", str(node.config)).stdout
        assert "gc_interval: 1h\n" in effective and "command_ttl: 5m\n" in effective
    finally:
        moods.end("away")
        for task_id in ("absent", "gone"):
            node.rpc("task_delete", task_id=task_id)


def probes() -> dict[str, list[str]]:
    """Give the probes that are shipped, as the commands that they run."""
    deploy = needs.ROOT / "deploy"
    pods = yaml.safe_load_all((deploy / "kubernetes" / "daemonset.yaml").read_text())
    (container,) = next(one for one in pods if one["kind"] == "DaemonSet")["spec"]["template"]["spec"]["containers"]
    found = {name: container[f"{name}Probe"]["exec"]["command"] for name in ("startup", "liveness", "readiness")}
    image = (deploy / "docker" / "Dockerfile").read_text()
    found["image"] = json.loads(re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", image, re.MULTILINE)[0])
    compose = yaml.safe_load((deploy / "docker" / "compose.yml").read_text())
    test = compose["services"]["otus"]["healthcheck"]["test"]
    assert test[0] == "CMD"
    found["compose"] = test[1:]
    return found


def test_a_broker_that_is_away_makes_a_node_unready_and_restarts_nothing(node: Node) -> None:
    node.write("info", f"  kafka: {{brokers: ['127.0.0.1:{free_port()}']}}\n  command_channel: {{enabled: true}}\n")
    node.start()
    wait(lambda: "command channel kafka: down: Unable" in otus(node, "status").stdout, what="the reason is told")
    text = otus(node, "status").stdout
    assert "command channel kafka: commands need no signature" in text
    assert "Connection refused" in text and not PYTHON.search(text)

    def exits() -> dict[str, int]:
        environment = {**os.environ, "OTUS_CONTROL_SOCKET": f"{node.folder}/o.sock"}
        return {
            name: subprocess.run([OTUS, *command[1:]], env=environment, check=False, timeout=60).returncode
            for name, command in probes().items()
        }

    assert exits() == {"startup": 0, "liveness": 0, "image": 0, "readiness": 1, "compose": 1}
    node.end()
    assert exits() == dict.fromkeys(exits(), 3)


@pytest.fixture
def fake_daemon(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], Path]]:
    """What answers on a control socket as a daemon with a fault of its own does."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "o.sock"))
        listener.listen()

        def answering(answer: dict[str, Any]) -> Path:
            def serve() -> None:
                with listener.accept()[0] as caller, caller.makefile("rb") as lines:
                    lines.readline()
                    caller.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, **answer}).encode() + b"\n")

            threading.Thread(target=serve, daemon=True).start()
            return tmp_path / "o.sock"

        yield answering


def test_a_daemon_that_answers_with_an_error_is_alive(fake_daemon: Callable[[dict[str, Any]], Path]) -> None:
    for arguments, expected in ((("--alive",), 0), ((), 1), (("-q",), 1)):
        path = fake_daemon({"error": {"code": -32603, "message": "internal error: KeyError"}})
        done = subprocess.run([OTUS, "--socket", str(path), "status", *arguments], capture_output=True, check=False)
        assert done.returncode == expected, (arguments, done)


def test_the_exit_statuses_are_in_the_help() -> None:
    for command in (("--help",), ("status", "--help")):
        text = subprocess.run([OTUS, *command], capture_output=True, text=True, check=True).stdout
        assert "xit status" in text and "3" in text, command
