"""``otus plugins new``: what it writes installs, keeps every rule, and passes its own tests, untouched."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import otus_core
from tests.patience import free_port, wait
from tests.plugins.installed import OTUS, Installed

KINDS = {
    "parser": (),
    "processor": (),
    "reporter": (),
    "capturer": (),
    "command_channel": (),
    "parser of streams": ("--streams",),
    "processor with records": ("--records",),
}

CONFIG = """\
otus:
  node: {{hostname: edge-1, ip: 127.0.0.1}}
  control: {{socket: {folder}/o.sock, pid_file: {folder}/o.pid}}
  data_dir: {folder}/data
  metrics: {{enabled: false}}
  log: {{outputs: {{file: {{enabled: false}}}}}}
  command_channel: {{enabled: true, type: line, options: {{port: {port}}}}}
"""


@pytest.mark.parametrize(("what", "options"), KINDS.items(), ids=KINDS)
def test_a_new_plugin_works_as_it_is_written(what: str, options: tuple[str, ...], tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    kind = what.split()[0]
    name = f"my-{kind.replace('_', '-')}"
    written = installed.otus("plugins", "new", kind, name, "--folder", tmp_path, *options)
    assert written.returncode == 0, written.stderr
    source = tmp_path / f"otus-plugin-{name}"
    assert f"pytest {source}" in written.stdout
    installed.install(source)
    assert name in installed.otus("plugins", "list", "--kind", kind).stdout
    checked = installed.otus("plugins", "check", name)
    assert (checked.returncode, checked.stdout.count("!")) == (0, 0), checked.stdout
    assert "MIT" in (source / "LICENSE").read_text()
    workflow = yaml.safe_load((source / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["publish"]["permissions"] == {"id-token": "write", "contents": "read"}
    assert {"run": f"otus plugins check {name}"} in workflow["jobs"]["test"]["steps"]
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
        ("parser", "sip", "there is a parser 'sip' already, of otus-plugin-sip"),
        ("reporter", "Sip", "is no name"),
        ("reporter", "sip", "otus-plugin-sip is installed already"),
        ("reporter", "discard", "there is a reporter 'discard' already, of otus-core"),
        ("parser", "core", "there is a package otus_core already"),
        ("parser", "otus-plugin-sip", "there is a parser 'sip' already"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path: Path, kind: str, name: str, reason: str) -> None:
    done = Installed(tmp_path).run(OTUS, "plugins", "new", kind, name, "--folder", tmp_path)
    assert done.returncode == 2
    assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["otus-plugin-box", "otus-box", "box"])
def test_no_prefix_is_doubled(tmp_path: Path, given: str) -> None:
    done = Installed(tmp_path).otus("plugins", "new", "parser", given, "--folder", tmp_path)
    assert (done.returncode, [path.name for path in tmp_path.iterdir()]) == (0, ["otus-plugin-box"])
    assert 'name="box"' in (tmp_path / "otus-plugin-box/src/otus_box/plugin.py").read_text()


def test_a_name_of_an_installed_plugin_is_refused_also_where_it_is_broken(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    installed.otus("plugins", "new", "parser", "box", "--folder", tmp_path)
    plugin = tmp_path / "otus-plugin-box/src/otus_box/plugin.py"
    plugin.write_text("import os\nos._exit(1)\n")
    installed.install(tmp_path / "otus-plugin-box")
    (tmp_path / "more").mkdir()
    done = installed.otus("plugins", "new", "reporter", "box", "--folder", tmp_path / "more")
    assert (done.returncode, "otus-plugin-box is installed already" in done.stderr) == (2, True)


@pytest.mark.parametrize(("kind", "option"), [("reporter", "--streams"), ("parser", "--records")])
def test_what_there_is_not_is_not_written(tmp_path: Path, kind: str, option: str) -> None:
    done = Installed(tmp_path).otus("plugins", "new", kind, "box", option, "--folder", tmp_path)
    assert (done.returncode, f"there is no {kind} with {option[2:]}" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_written_is_clean_under_strict_types(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    for n, (what, options) in enumerate(KINDS.items()):
        installed.otus("plugins", "new", what.split()[0], f"my{n}", "--folder", tmp_path, *options)
    folders = [folder / part for folder in sorted(tmp_path.glob("otus-plugin-*")) for part in ("src", "tests")]
    assert len(folders) == 2 * len(KINDS)
    about = ("--config-file", os.devnull, "--cache-dir", tmp_path / "cache")
    done = installed.run(sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases", *about, *folders)
    assert done.returncode == 0, done.stdout


OWN_FILES = re.compile(r"(?<!def )(?<![\w.])open\(")
IMPORTED = re.compile(r"^(?:from|import) (otus\S*)", re.MULTILINE)


def test_templates_use_what_plugins_may_use() -> None:
    """Files are opened by functions of ``otus_core``, and nothing private of it is imported."""
    sources = sorted((Path(otus_core.__file__).parent / "scaffold").glob("*/src/**/*.py.tmpl"))
    assert len(sources) > 15
    for source in sources:
        text = source.read_text()
        assert not OWN_FILES.search(text), source
        assert set(IMPORTED.findall(text)) <= {"otus_core"}, source


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "otus-plugin-x").mkdir()
    done = Installed(tmp_path).otus("plugins", "new", "parser", "x", "--folder", tmp_path)
    assert (done.returncode, "exists already" in done.stderr) == (1, True)
    assert list((tmp_path / "otus-plugin-x").iterdir()) == []
