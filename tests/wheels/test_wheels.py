"""What is installed works by itself: wheels alone, without their sources, a compiler, or a developer's environment.

``nox -s wheels`` runs these where nothing but wheels was ever installed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.e2e.test_corpora import oracle_of

BIN = Path(sys.executable).parent
DISTRIBUTIONS = tuple(sorted(path.parent.name for path in needs.ROOT.glob("otus-*/pyproject.toml")))
UNSHIPPED = {
    ".pyx",
    ".pxd",
    ".c",
    ".cpp",
    ".so",
    ".pyc",
}  # what modules were built from, and what a build leaves behind
IMPORT_ALL = """\
import importlib, json, pkgutil, sys
for name in sys.argv[1:]:
    for found in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
print(json.dumps({name: module.__file__ for name, module in sys.modules.items() if name.split(".")[0] in sys.argv}))
"""


class Alone:
    """Runs programs of the environment in an empty folder, with nothing else on the path and nothing inherited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        for name in ("otus", "python"):
            (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{BIN / name}" "$@"\n')
            (folder / "bin" / name).chmod(0o755)
        self.environment = {"PATH": str(folder / "bin"), "HOME": str(folder), "LANG": "C.UTF-8", "NO_COLOR": "1"}

    def run(self, *command: object) -> str:
        """Give what a program writes to standard output; it has to end well."""
        done = subprocess.run(
            [self.folder / "bin" / str(command[0]), *map(str, command[1:])],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def outputs(self, *arguments: object) -> list[dict[str, Any]]:
        """Give the messages that ``otus run`` reports."""
        return [json.loads(line) for line in self.run("otus", "run", *arguments, "--format", "json", "-q").splitlines()]


@pytest.fixture
def alone(tmp_path: Path) -> Alone:
    needs.wheels()
    return Alone(tmp_path)


def sources(name: str) -> list[Path]:
    """Give the files of a distribution's packages, relative to where they are imported from."""
    src = needs.ROOT / name / "src"
    return [
        path.relative_to(src)
        for path in src.glob("otus_*/**/*")
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)
    ]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_holds_every_module_and_all_data(alone: Alone, name: str) -> None:
    held = {str(file) for file in distribution(name).files or ()}
    assert {str(path) for path in sources(name) if path.suffix not in UNSHIPPED} <= held
    compiled = {file.removesuffix("".join(Path(file).suffixes)) for file in held if file.endswith(".so")}
    assert compiled == {str(path.with_suffix("")) for path in sources(name) if path.suffix == ".pyx"}


def test_the_core_ships_what_compiled_plugins_are_built_with(alone: Alone) -> None:
    held = {str(file) for file in distribution("otus-core").files or ()}
    assert {str(path) for path in sources("otus-core") if path.suffix == ".pxd"} <= held


def test_every_module_is_imported_from_what_is_installed(alone: Alone) -> None:
    packages = [name.replace("-plugin-", "_").replace("-", "_") for name in DISTRIBUTIONS]
    found = json.loads(alone.run("python", "-P", "-c", IMPORT_ALL, *packages))
    assert set(packages) <= set(found)
    assert len(found) > 200
    assert [name for name, file in found.items() if not Path(file).is_relative_to(sys.prefix)] == []


def test_every_component_is_ready(alone: Alone) -> None:
    rows = json.loads(alone.run("otus", "plugins", "list", "--json"))
    assert {row["distribution"] for row in rows} == set(DISTRIBUTIONS)
    assert [row for row in rows if row["state"] != "ready"] == []


CALL = "INVITE 100 180 200 ACK BYE 200"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("call", CALL), ("fragmented", CALL), ("tcp", CALL), ("register", "REGISTER 401 REGISTER 200")],
)
def test_an_example_is_read(alone: Alone, examples: Path, name: str, expected: str) -> None:
    labels = [output["labels"] for output in alone.outputs(examples / f"{name}.pcap", "--parser", "sip")]
    assert " ".join(one.get("sip.method") or one["sip.status_code"] for one in labels) == expected


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "name",
    [
        "goffinet__uac-uas-scenario-sipp.pcapng",
        "bobstack__open-test-data__from-wireshark-site__wireshark_digium060515.pcap",
        "wireshark-wiki__sip-and-rtp__SIP_DTMF2.cap",
    ],
)
def test_a_capture_gives_the_messages_that_tshark_saw(alone: Alone, corpora: Path, name: str, workers: int) -> None:
    outputs = alone.outputs(corpora / name, "--parser", "sip", "--workers", workers)
    found = [hashlib.sha256(base64.b64decode(output["raw_payload"])).hexdigest() for output in outputs]
    assert found
    assert sorted(found) == sorted(digest for digest, _ in oracle_of(corpora / name) or ())


def test_a_new_plugin_is_installed_and_keeps_the_rules(alone: Alone) -> None:
    alone.run("otus", "plugins", "new", "parser", "box")
    pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", "site")
    alone.run("python", *pip, alone.folder / "otus-plugin-box")
    alone.environment["PYTHONPATH"] = str(alone.folder / "site")
    assert "!" not in alone.run("otus", "plugins", "check", "box")
    alone.run("python", "-m", "pytest", "-q", "otus-plugin-box/tests")


def test_man_finds_the_manual() -> None:
    """man(1) looks in ``share/man`` beside the folders of the path."""
    needs.wheels()
    manual = Path(sys.prefix) / "share" / "man" / "man1" / "otus.1"
    assert manual.read_text() == (needs.ROOT / "otus-core" / "man" / "otus.1").read_text()
