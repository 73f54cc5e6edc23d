"""Makes the Debian package: ``python -m shipping.deb OUT WHEEL... [--machine aarch64] [--version 0.1.0]``.

In: wheels, and ``deploy/``. Out: ``otus_VERSION_ARCH.deb``, which brings its own Python in ``/opt/otus/VERSION``, the
unit, its user, the configuration, and ``otus-use``, which goes back to the version before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

from shipping import ROOT, tree
from shipping.machines import MACHINES, Machine, need

DEPLOY = ROOT / "deploy"
SCRIPTS = ROOT / "shipping" / "debian"
CONFFILES = ("/etc/otus/config.yml",)
EPOCH = "1767225600"
"""2026-01-01: the time of every file, so that the same sources make the same package (SOURCE_DATE_EPOCH)."""
CONTROL = """\
Package: otus
Version: {version}
Architecture: {architecture}
Maintainer: The Otus authors <otus@localhost>
Installed-Size: {size}
Recommends: systemd
Section: net
Priority: optional
Description: edge packet-capture agent for SIP/VoIP
 Captures SIP and RTP where they pass, and reports messages, calls and streams
 to Kafka, to Homer, or as JSON. Brings its own Python and libraries, and needs
 none of the system's.
"""


def version_of_core() -> str:
    """Give the version of the core, which is the package's."""
    project = tomllib.loads((ROOT / "otus-core" / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def lay_out(root: Path, machine: Machine, wheels: list[Path], version: str) -> None:
    """Put every file of the package where it is installed, below ``root``."""
    tree.build(machine, wheels, root / "opt" / "otus" / version)
    files = {
        "systemd/otus.service": "usr/lib/systemd/system/otus.service",
        "systemd/otus.sysusers.conf": "usr/lib/sysusers.d/otus.conf",
        "systemd/otus.tmpfiles.conf": "usr/lib/tmpfiles.d/otus.conf",
        "config.yml": "etc/otus/config.yml",
        "tasks.d/sip.yaml": "usr/share/doc/otus/examples/sip.yaml",
    }
    for source, target in files.items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DEPLOY / source, root / target)
    for folder in ("etc/otus/tasks.d", "opt/otus/plugins", "usr/bin", "usr/sbin"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "LICENSE", root / "usr/share/doc/otus/copyright")
    shutil.copyfile(SCRIPTS / "otus-use", root / "usr/sbin/otus-use")
    (root / "usr/sbin/otus-use").chmod(0o755)
    (root / "usr/bin/otus").symlink_to("/opt/otus/current/bin/otus")


def write_control(root: Path, machine: Machine, version: str) -> None:
    """Write what dpkg reads: about the package, its scripts, and which files are the operator's to change."""
    folder = root / "DEBIAN"
    folder.mkdir()
    size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file()) // 1024
    text = CONTROL.format(version=version, architecture=machine.debian, size=size)
    (folder / "control").write_text(text)
    (folder / "conffiles").write_text("".join(f"{name}\n" for name in CONFFILES))
    for name in ("preinst", "postinst", "prerm", "postrm"):
        (folder / name).write_text((SCRIPTS / name).read_text().replace("@VERSION@", version))
        (folder / name).chmod(0o755)


def build(machine: Machine, wheels: list[Path], out: Path, version: str) -> Path:
    """Make the package in a folder; gives the file."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"otus_{version}_{machine.debian}.deb"
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        root.mkdir(mode=0o755)
        lay_out(root, machine, wheels, version)
        write_control(root, machine, version)
        command = [need("dpkg-deb", "dpkg"), "--root-owner-group", "-Zxz", "-z4", "--build", str(root), str(file)]
        subprocess.run(command, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}, check=True, stdout=subprocess.DEVNULL)
    print(f"{file}: {file.stat().st_size:,} bytes")
    return file


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(prog="shipping.deb", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("wheels", type=Path, nargs="+")
    parser.add_argument("--machine", choices=list(MACHINES), required=True)
    parser.add_argument("--version", default=version_of_core())
    given = parser.parse_args()
    build(MACHINES[given.machine], given.wheels, given.out, given.version)


if __name__ == "__main__":
    main()
