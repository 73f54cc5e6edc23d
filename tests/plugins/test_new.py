"""``otus plugins new``: what it writes installs, keeps every rule, and passes its own tests, untouched."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import free_port, wait
from tests.plugins.installed import OTUS, Installed

KINDS = ("parser", "processor", "reporter", "capturer", "command_channel")

CONFIG = """\
otus:
  node: {{hostname: edge-1, ip: 127.0.0.1}}
  control: {{socket: {folder}/o.sock, pid_file: {folder}/o.pid}}
  data_dir: {folder}/data
  metrics: {{enabled: false}}
  log: {{outputs: {{file: {{enabled: false}}}}}}
  command_channel: {{enabled: true, type: line, options: {{port: {port}}}}}
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_works_as_it_is_written(kind: str, tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    name = f"my-{kind.replace('_', '-')}"
    written = installed.otus("plugins", "new", kind, name, "--folder", tmp_path)
    assert written.returncode == 0, written.stderr
    source = tmp_path / f"otus-plugin-{name}"
    assert f"pytest {source}" in written.stdout
    installed.install(source)
    assert name in installed.otus("plugins", "list", "--kind", kind).stdout
    checked = installed.otus("plugins", "check", name)
    assert checked.returncode == 0, checked.stdout
    tested = installed.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", source / "tests")
    assert tested.returncode == 0, tested.stdout


def test_a_new_command_channel_commands_a_daemon(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    installed.otus("plugins", "new", "command_channel", "line", "--folder", tmp_path)
    installed.install(tmp_path / "otus-plugin-line")
    config = tmp_path / "config.yml"
    text = CONFIG.format(folder=tmp_path, port=(port := free_port()))
    config.write_text(text.replace("port:", "prot:"))
    refused = installed.otus("validate", "-f", config)
    assert (refused.returncode, "otus.command_channel.options.prot" in refused.stderr) == (2, True), refused.stderr
    config.write_text(text)
    assert installed.otus("validate", "-f", config).returncode == 0
    daemon = subprocess.Popen([OTUS, "daemon", "-c", str(config)], env=installed.environment, stderr=subprocess.DEVNULL)
    try:
        wait(lambda: installed.otus("--socket", tmp_path / "o.sock", "status").returncode == 0)
        callers: list[socket.socket] = []

        def connected() -> bool:  # the daemon answers before its command channel is there
            with contextlib.suppress(ConnectionRefusedError):
                callers.append(socket.create_connection(("127.0.0.1", port), timeout=60))
            return bool(callers)

        wait(connected, what="the command channel listens")
        with callers[0] as caller, caller.makefile("rwb") as lines:
            lines.write(json.dumps({"command": "task_list", "payload": {}}).encode() + b"\n")
            lines.flush()
            assert json.loads(lines.readline()) == {"result": {"tasks": [], "count": 0}}
    finally:
        daemon.terminate()
        assert daemon.wait(60) == 0


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("pasrer", "x", "'pasrer' is no kind of plugin"),
        ("parser", "../x", "is no name"),
        ("parser", "X", "is no name"),
        ("parser", "a--b", "is no name"),
        ("parser", "class", "is a word of Python"),
        ("parser", "x" * 41, "is no name"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path: Path, kind: str, name: str, reason: str) -> None:
    done = Installed(tmp_path).run(OTUS, "plugins", "new", kind, name, "--folder", tmp_path)
    assert done.returncode == 2
    assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "otus-plugin-x").mkdir()
    done = Installed(tmp_path).otus("plugins", "new", "parser", "x", "--folder", tmp_path)
    assert (done.returncode, "exists already" in done.stderr) == (1, True)
    assert list((tmp_path / "otus-plugin-x").iterdir()) == []
