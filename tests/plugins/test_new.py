"""``otus plugins new``: what it writes installs, keeps every rule, and passes its own tests, untouched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.plugins.installed import OTUS, Installed

KINDS = ("parser", "processor", "reporter", "capturer", "command_channel")


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
    assert done.returncode == 1
    assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "otus-plugin-x").mkdir()
    done = Installed(tmp_path).otus("plugins", "new", "parser", "x", "--folder", tmp_path)
    assert (done.returncode, "exists already" in done.stderr) == (1, True)
    assert list((tmp_path / "otus-plugin-x").iterdir()) == []
