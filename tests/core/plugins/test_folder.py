"""``OTUS_PLUGIN_DIR``: plugins are found in a folder beside Otus, unless others than root and the user can write
there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import needs
from tests.core.plugins.distributions import Site, good

NAME = "OTUS_PLUGIN_DIR"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (folder := tmp_path / "empty").mkdir()
    return Site(folder=folder)


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (folder := tmp_path / "plugins").mkdir(mode=0o755)
    Site(folder=folder).install("otus-plugin-fine", good("fine"))
    return folder


def reason(site: Site, folder: object) -> str:
    row = site.row(NAME, **{NAME: str(folder)})
    assert row["state"] != "ready"
    assert "otus-plugin-fine" not in {one["distribution"] for one in site.rows(**{NAME: str(folder)})}
    return str(row["reason"])


def test_a_plugin_is_found_in_the_folder(site: Site, plugins: Path) -> None:
    assert "otus-plugin-fine" not in {row["distribution"] for row in site.rows()}
    assert site.row("otus-plugin-fine", **{NAME: str(plugins)})["state"] == "ready"


def test_what_comes_with_otus_goes_first(site: Site, plugins: Path) -> None:
    """A module or a distribution of the same name in the folder takes nothing over."""
    (plugins / "json.py").write_text("raise SystemExit('not this one')\n")
    Site(folder=plugins).install("otus-plugin-sip", "raise SystemExit('nor this one')", version="9", entry_point="sip")
    rows = [row for row in site.rows(**{NAME: str(plugins)}) if row["distribution"] == "otus-plugin-sip"]
    assert {row["version"] for row in rows} == {"0.1.0"}
    assert {row["state"] for row in rows} == {"ready"}


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused(site: Site, plugins: Path, mode: int) -> None:
    plugins.chmod(mode)
    assert reason(site, plugins) == f"the folder can be changed by others: {plugins} has mode {mode:04o}"


def test_a_file_that_others_can_write_to_is_refused(site: Site, plugins: Path) -> None:
    (file := plugins / "otus_plugin_fine.py").chmod(0o666)
    assert reason(site, plugins) == f"the folder can be changed by others: {file} has mode 0666"


def test_a_folder_above_that_others_can_write_to_is_refused(site: Site, plugins: Path) -> None:
    plugins.parent.chmod(0o777)
    assert "has mode 0777" in reason(site, plugins)


def test_what_another_user_owns_is_refused(site: Site, plugins: Path) -> None:
    needs.root()
    os.chown(plugins / "otus_plugin_fine.py", 12345, -1)
    assert "is owned by user 12345" in reason(site, plugins)


def test_the_working_directory_is_never_meant(site: Site, plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plugins)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # as the command `otus` has it
    assert reason(site, ".") == "the folder is not a full path"


def test_a_link_is_refused(site: Site, plugins: Path) -> None:
    (link := plugins.parent / "link").symlink_to(plugins)
    assert reason(site, link) == f"the folder is reached through a link; name {plugins}"


def test_a_folder_that_is_not_there_is_named(site: Site, plugins: Path) -> None:
    assert reason(site, plugins / "none").startswith("the folder cannot be read")


PARSER = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.Parser(name="odd", factory="otus_plugin_odd:Odd", payload_types=("odd",), transports=("udp",))

class Odd(otus_core.BaseParser):
    def __init__(self, config):
        pass

    def can_handle(self, packet):
        return True

    def handle(self, packet):
        return otus_core.Parsed({"size": packet.payload_len}, {})
"""


def test_every_process_of_otus_looks_there(site: Site, plugins: Path, examples: Path) -> None:
    """Also the workers, which parse."""
    Site(folder=plugins).install("otus-plugin-odd", PARSER)
    command = ("run", str(examples / "call.pcap"), "-q", "--workers", "2", "--parser", "odd", "--format", "json")
    done = site.otus(*command, **{NAME: str(plugins)})
    assert (done.returncode, done.stdout.count('"payload_type":"odd"')) == (0, 7), done.stderr
