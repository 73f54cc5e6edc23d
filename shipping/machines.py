"""The machines and the Pythons that are built for, and where their files come from: Debian's packages, unpacked into a
folder, so that nothing of another machine is installed here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import rmtree, which

import attrs

from shipping import CACHE

SUITES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "sid"}
"""Which of Debian's suites has which CPython; none has 3.12, whose headers an interpreter on the path gives."""
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@attrs.frozen
class Machine:
    """One kind of machine: what Python, Debian and the compiler call it."""

    name: str
    debian: str
    triplet: str
    emulator: str

    @property
    def compiler(self) -> str:
        """Give the C compiler that makes code for this machine."""
        return "gcc" if self.is_here else f"{self.triplet}-gcc"

    @property
    def is_here(self) -> bool:
        """Whether this is such a machine."""
        return self.name == os.uname().machine

    def runs(self, program: Path, *arguments: object) -> list[str]:
        """Give the command that runs a program of this machine here."""
        return [*([] if self.is_here else [self.emulator]), str(program), *map(str, arguments)]


MACHINES = {
    "x86_64": Machine("x86_64", "amd64", "x86_64-linux-gnu", "qemu-x86_64-static"),
    "aarch64": Machine("aarch64", "arm64", "aarch64-linux-gnu", "qemu-aarch64-static"),
}


def need(program: str, package: str) -> str:
    """Give the path of a program that a Debian package brings; ends the build where it is missing."""
    return which(program) or sys.exit(f"{program} is not installed: apt-get install {package}")


def headers(machine: Machine, python: str) -> list[str]:
    """Give the compiler's options that lead to ``Python.h`` and ``pyconfig.h`` of a CPython.

    Those of 3.12 are of this machine, also for another one: of what is in ``pyconfig.h``, two 64-bit Linux machines
    differ in whether there is assembler for the x87, in whether ``wchar_t`` has a sign, and in the tier of support;
    no extension module of ours compiles differently for that.
    """
    if python not in SUITES:
        code = "import sysconfig as s; print('-I' + s.get_path('include'), '-I' + s.get_path('platinclude'))"
        done = subprocess.run([f"python{python}", "-c", code], capture_output=True, text=True, check=False)
        return done.stdout.split() if done.returncode == 0 else sys.exit(f"no python{python} on the path runs")
    include = sysroot(machine, python) / "usr" / "include"
    # Debian's pyconfig.h names the one of the machine from /usr/include. That folder comes last: the C library's
    # headers must be the compiler's, or the modules ask for a newer C library than need be.
    return [f"-I{include}/python{python}", "-idirafter", str(include)]


def sysroot(machine: Machine, python: str) -> Path:
    """Give a folder that holds Debian's CPython for a machine, with headers and all libraries it needs."""
    folder = CACHE / "sysroots" / f"{machine.name}-{python}"
    if (folder / "usr" / "bin" / f"python{python}").exists():
        return folder
    rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.with_name(f"{folder.name}.new")
    rmtree(made, ignore_errors=True)
    packages = f"python{python} libpython{python}-dev libpcap0.8 libstdc++6 liblzma-dev"
    unpack(machine.debian, SUITES[python], packages, made)
    made.rename(folder)
    return folder


def unpack(architecture: str, suite: str, packages: str, folder: Path) -> None:
    """Unpack packages of Debian, and all that they depend on, into a folder; none of their scripts is run."""
    names = packages.replace(" ", ",")
    options = (f"--architectures={architecture}", "--variant=extract", f"--include={names}", "--quiet")
    # A copy of the archive may be older than Debian lets an unreleased suite be.
    lax = ("--aptopt=Acquire::Check-Valid-Until false",) if suite == "sid" else ()
    command = [need("mmdebstrap", "mmdebstrap"), *options, *lax, suite, str(folder), *_archives(suite)]
    subprocess.run(command, check=True)


def _archives(suite: str) -> list[str]:
    """Give the lines of sources.list that lead to a suite and its security updates, from the archives used here."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    places = dict.fromkeys(told)
    lines = [f"deb {place} {suite} main" for place in places if "security" not in place][:1]
    if suite != "sid":
        lines += [f"deb {place} {suite}-security main" for place in places if "security" in place][:1]
    return lines
