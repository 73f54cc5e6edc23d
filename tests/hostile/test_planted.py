"""Modules planted in the working directory: none is ever imported, whichever process Otus starts there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node, task
from tests.live.net import OTUS, children_of, has_ring
from tests.patience import PATIENCE_S, wait

NAMES = ("attr", "attrs", "otus_core", "otus_afpacket", "otus_sip", "structlog", "yaml", "pluggy", "socket", "json")
MARK = (
    "import os, sys\nopen({mark!r}, 'a').write(f'{{__name__}} in {{sys.orig_argv}}\\n')\nraise SystemExit('planted')\n"
)
LIVE = {"id": "live", "capture": {"type": "afpacket", "interface": "lo"}, "reporters": ["discard"]}


class Trap:
    """A folder to stand in, and the file that tells which of its modules were imported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trap"
        self.folder.mkdir()
        self._mark = folder / "imported"
        for name in NAMES:
            (self.folder / f"{name}.py").write_text(MARK.format(mark=str(self._mark)))

    def imported(self) -> str:
        return self._mark.read_text() if self._mark.exists() else ""

    def run(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [OTUS, *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
        )


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path)


@pytest.fixture
def call(examples: Path) -> Path:
    return (examples / "call.pcap").resolve()


def test_the_modules_would_be_imported_from_there(trap: Trap) -> None:
    """The trap works: plain Python falls into it."""
    subprocess.run(["python3", "-c", "import attr"], cwd=trap.folder, capture_output=True, check=False)
    assert "attr in" in trap.imported()


def test_not_by_workers_of_a_file(trap: Trap, call: Path) -> None:
    done = trap.run("run", call, "--workers", 2, "--format", "json")
    assert (done.returncode, trap.imported()) == (0, ""), done.stderr
    assert done.stdout.count("\n") > 5


def test_not_by_the_opener_and_the_workers_of_an_interface(trap: Trap) -> None:
    needs.root()
    command = [OTUS, "run", "-i", "lo", "--workers", "2", "--format", "none"]
    with subprocess.Popen(command, cwd=trap.folder, stderr=subprocess.PIPE, text=True) as running:
        wait(lambda: _rings(running) == 2 or running.poll() is not None, what="it captures")
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, trap.imported()) == (0, ""), errors


@pytest.mark.parametrize("arguments", [("plugins", "check", "sip"), ("plugins", "check"), ("plugins", "list")])
def test_not_by_the_checker(trap: Trap, arguments: Sequence[str]) -> None:
    done = trap.run(*arguments)
    assert (done.returncode, trap.imported()) == (0, ""), done.stdout + done.stderr


def test_not_by_a_daemon_and_its_processes(trap: Trap, node: Node, call: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trap.folder)
    node.start()
    assert node.call("task", "create", "-f", "-", text=task(call))[0] == 0
    if os.geteuid() == 0:
        assert node.call("task", "create", "-f", "-", text=json.dumps(LIVE))[0] == 0
    assert node.call("plugins", "list")[0] == 0
    assert trap.imported() == ""


def test_not_by_what_is_started_where_pythonpath_has_an_empty_entry(trap: Trap, call: Path) -> None:
    """``PYTHONPATH=$PYTHONPATH:/more`` has one; Python itself takes it for the working directory, also with ``-P``."""
    (trap.folder / "sitecustomize.py").write_text(MARK.format(mark=f"{trap.folder}/imported").replace("raise", "0 and"))
    done = trap.run("run", call, "--workers", 2, PYTHONPATH=":/nowhere")
    started = (trap.folder / "imported").read_text()
    assert "otus_core.worker.child" not in started, done.stderr


def test_an_opener_that_cannot_start_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    needs.root()
    done = subprocess.run(
        [OTUS, "run", "-i", "lo", "--format", "none"],
        env={**os.environ, "PYTHONPATH": str(_breaks_opener(tmp_path))},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "lo: the opener cannot start: RuntimeError: broken on purpose" in done.stderr


def test_the_opener_imports_the_plugin_of_its_capturer_alone(tmp_path: Path) -> None:
    needs.root()
    marked = "import sys\nopen({!r}, 'a').write(' '.join(sys.orig_argv) + '\\n')\n"
    source = "import otus_core\n@otus_core.hookimpl\ndef otus_components():\n    return []\n"
    Site(folder=tmp_path).install("otus-plugin-other", marked.format(str(tmp_path / "by")) + source)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [OTUS, "run", "-i", "lo", "--format", "none", "-q"]
    with subprocess.Popen(command, env=environment) as running:
        wait(lambda: _rings(running) == 1 or running.poll() is not None, what="it captures")
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE_S) == 0
    by = (tmp_path / "by").read_text()
    assert "otus_core.worker.child" in by
    assert "otus_core.process.opener" not in by


def _breaks_opener(folder: Path) -> Path:
    """Give a folder whose ``usercustomize`` ends the opener alone, as a damaged installation would."""
    (folder / "sitecustomize.py").write_text(
        "import sys\nif any('process.opener' in word for word in sys.orig_argv):\n"
        "    class Broken:\n        def find_spec(self, name, path=None, target=None):\n"
        "            if name == 'otus_core.process.privilege':\n"
        "                raise RuntimeError('broken on purpose')\n"
        "    sys.meta_path.insert(0, Broken())\n"
    )
    return folder


def _rings(running: subprocess.Popen[Any]) -> int:
    return sum(has_ring(child) for child in children_of(running.pid))
