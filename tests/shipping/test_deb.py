"""The Debian package in a small Debian of its own, which has no Python: installed, upgraded, rolled back, removed."""

from __future__ import annotations

import os
import shutil

import pytest

from tests import needs
from tests.shipping.bare import Bare, shipped, small_debian

pytestmark = pytest.mark.on_demand

NEXT = "99.0"
ARCHITECTURE = os.environ.get("OTUS_ARCHITECTURE", "amd64")
"""Of the package: those for ARM are installed in a Debian for ARM, in an emulator."""


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """A root with Debian's essential packages and systemd's programs."""
    packages = [shipped(), shipped("next")]
    bare = small_debian(tmp_path_factory.mktemp("debian") / "root", ARCHITECTURE)
    folder = bare.folder
    for package in packages:
        shutil.copy(next(package.glob(f"otus_*_{ARCHITECTURE}.deb")), folder)
    shutil.copy(needs.ROOT / "examples" / "call.pcap", folder)
    return bare


def version(debian: Bare) -> str:
    return (debian.folder / "opt" / "otus" / "current").readlink().name


def package(debian: Bare, version: str) -> str:
    (file,) = debian.folder.glob(f"otus_{version}_{ARCHITECTURE}.deb")
    return f"/{file.name}"


def test_the_life_of_the_package(debian: Bare) -> None:
    """One test: each step needs the one before."""
    root = debian.folder
    assert not list(root.glob("usr/bin/python3*")), "the point is that there is no Python"
    first = next(path.name.split("_")[1] for path in root.glob("otus_*.deb") if NEXT not in path.name)

    debian.run("dpkg", "-i", package(debian, first))
    assert version(debian) == first
    assert "otus" in (root / "etc" / "passwd").read_text()
    assert ((root / "var/lib/otus").stat().st_mode & 0o777, (root / "var/lib/otus").stat().st_uid != 0) == (0o700, True)
    assert (root / "etc/otus/config.yml").stat().st_mode & 0o777 == 0o640
    assert "completed" in debian.run("otus", "calls", "/call.pcap")
    debian.run("otus", "validate", "-f", "/etc/otus/config.yml")
    assert debian.run("otus-use") == f"* {first}\n"

    with (root / "etc/otus/config.yml").open("a") as config:
        config.write("# the operator's\n")
    (root / "var/lib/otus/tasks/t.json").write_text("{}")
    debian.run("dpkg", "-i", package(debian, NEXT))
    assert version(debian) == NEXT
    assert "the operator's" in (root / "etc/otus/config.yml").read_text()
    assert debian.run("otus-use") == f"  {first}\n* {NEXT}\n"

    debian.run("otus-use", first)
    assert version(debian) == first
    assert "completed" in debian.run("otus", "calls", "/call.pcap")
    assert "not installed" in debian.run("otus-use", "1.2.3", status=1)
    debian.run("otus-use", NEXT)

    debian.run("dpkg", "-r", "otus")
    assert [path.name for path in (root / "opt/otus").glob("*") if path.name != "plugins"] == []
    assert not (root / "usr/bin/otus").exists() and not (root / "usr/lib/systemd/system/otus.service").exists()
    assert (root / "etc/otus/config.yml").exists() and (root / "var/lib/otus/tasks/t.json").exists()

    debian.run("dpkg", "-P", "otus")
    left = [
        name for name in ("etc/otus/config.yml", "var/lib/otus", "var/log/otus", "opt/otus") if (root / name).exists()
    ]
    assert left == []
    assert "otus" not in debian.run("dpkg-query", "-W", "-f", "${Package} ${Status}\n")
