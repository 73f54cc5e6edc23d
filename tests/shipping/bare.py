"""A root folder with nothing in it but what a test puts there, and programs that run there as in their own machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shipping.machines import unpack
from tests import needs
from tests.shipping.arm import QEMU

ARM = (sys.executable, "-P", str(Path(__file__).with_name("arm.py")))
SYSTEM = (
    "dpkg dash bash coreutils sed grep findutils gzip tar diffutils libc-bin base-files base-passwd login passwd "
    "util-linux init-system-helpers perl-base systemd systemd-sysv dbus mount"
)
ENTER = 'mount -t proc none "$0/proc" && exec env "$@"'


def shipped(name: str = "") -> Path:
    """Give what a session of nox has made."""
    made = os.environ.get("OTUS_SHIPPED")
    if made is None:
        pytest.fail("nothing is shipped here: nox -s binary, deb, wheels -- all")
    return Path(made) / name if name else Path(made)


class Bare:
    """The folder. ``arm`` says that its programs are for ARM, and run in an emulator."""

    def __init__(self, folder: Path, arm: bool = False) -> None:
        needs.root()
        self.folder = folder
        self.arm = arm
        for name in ("proc", "dev", "tmp", "root"):
            (folder / name).mkdir(parents=True)
        os.mknod(folder / "dev" / "null", 0o020666, os.makedev(1, 3))
        (folder / "dev" / "null").chmod(0o666)
        if arm:
            needs.tool(QEMU)

    def command(self, *words: object, **environment: str) -> list[str]:
        """Give the command line that runs a program there, which ends with it and all that it started. The environment
        is for that program alone: what leads to the emulator may be Python too.
        """
        apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, str(self.folder))
        given = (f"{name}={value}" for name, value in environment.items())
        return [*(ARM if self.arm else ()), *apart, *given, "chroot", str(self.folder), *map(str, words)]

    def run(self, *words: object, status: int = 0, **environment: str) -> str:
        """Give what a program says on standard output; it has to end with this status."""
        done = subprocess.run(
            self.command(*words, **environment),
            env={"HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=1200 if self.arm else 280,  # an emulator takes minutes where other work is done beside it
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr


def messages_here(*captures: Path) -> str:
    """Give what the Otus of this environment makes of captures, as lines of JSON."""
    code = "import sys; from otus_core.cli import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", code, "run", *map(str, captures), "-q", "--format", "json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=True).stdout


def small_debian(folder: Path, architecture: str = "amd64") -> Bare:
    """Give a root with Debian's essential programs and systemd, and with no Python."""
    unpack(architecture, "bookworm", SYSTEM, folder)
    for name in ("proc", "dev", "tmp", "root"):
        shutil.rmtree(folder / name)
    for name in ("info", "updates", "triggers"):
        (folder / "var/lib/dpkg" / name).mkdir(exist_ok=True, parents=True)
    (folder / "var/lib/dpkg/status").write_text("")
    for name in ("passwd", "group"):
        shutil.copy(folder / f"usr/share/base-passwd/{name}.master", folder / "etc" / name)
    return Bare(folder, arm=architecture == "arm64")
