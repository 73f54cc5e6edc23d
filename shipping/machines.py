"""The machines and the Pythons that are built for, and where their files come from: packages of Debian, and for one
Python a package of Maven Central, unpacked into a folder, so that nothing of another machine is installed here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from shutil import copy, move, rmtree, which

import attrs

from shipping import CACHE

SUITES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "sid"}
"""Which of Debian's suites has which CPython; none has 3.12."""
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
JAR = "org.bytedeco:cpython:3.12.1-1.5.10:jar:{jar}"
"""CPython 3.12 as the JavaCPP presets publish it on Maven Central: interpreter, library, headers, for both machines."""
JAR_LIBRARIES = "libpcap0.8 libstdc++6 libssl3 zlib1g libbz2-1.0 liblzma5 libexpat1 libuuid1"
"""What it is linked to, of Debian."""


@attrs.frozen
class Machine:
    """One kind of machine: what Python, Debian, the presets for Java and the compiler call it."""

    name: str
    debian: str
    jar: str
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
    "x86_64": Machine("x86_64", "amd64", "linux-x86_64", "x86_64-linux-gnu", "qemu-x86_64-static"),
    "aarch64": Machine("aarch64", "arm64", "linux-arm64", "aarch64-linux-gnu", "qemu-aarch64-static"),
}


def need(program: str, package: str) -> str:
    """Give the path of a program that a Debian package brings; ends the build where it is missing."""
    return which(program) or sys.exit(f"{program} is not installed: apt-get install {package}")


def headers(machine: Machine, python: str) -> list[str]:
    """Give the compiler's options that lead to ``Python.h`` and ``pyconfig.h`` of a CPython."""
    include = sysroot(machine, python) / "usr" / "include"
    # Debian's pyconfig.h names the one of the machine from /usr/include. That folder comes last: the C library's
    # headers must be the compiler's, or the modules ask for a newer C library than need be.
    return [f"-I{include}/python{python}", "-idirafter", str(include)]


def sysroot(machine: Machine, python: str) -> Path:
    """Give a folder that holds a CPython for a machine, with headers and all libraries it needs."""
    folder = CACHE / "sysroots" / f"{machine.name}-{python}"
    if (folder / "usr" / "bin" / f"python{python}").exists():
        return folder
    rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.with_name(f"{folder.name}.new")
    rmtree(made, ignore_errors=True)
    if python in SUITES:
        packages = f"python{python} libpython{python}-dev libpcap0.8 libstdc++6 liblzma-dev"
        unpack(machine.debian, SUITES[python], packages, made)
    else:
        unpack(machine.debian, "bookworm", JAR_LIBRARIES, made)
        _add_jar(machine, python, made)
    made.rename(folder)
    return folder


def _add_jar(machine: Machine, python: str, folder: Path) -> None:
    """Put the CPython of Maven Central where Debian has its own."""
    with tempfile.TemporaryDirectory() as scratch:
        named = (f"-Dartifact={JAR.format(jar=machine.jar)}", f"-DoutputDirectory={scratch}")
        subprocess.run([need("mvn", "maven"), "-q", "-B", "dependency:copy", *named], check=True)
        (jar,) = Path(scratch).glob("*.jar")
        with zipfile.ZipFile(jar) as archive:
            archive.extractall(scratch)
        there = Path(scratch) / "org" / "bytedeco" / "cpython" / machine.jar
        for name in (f"bin/python{python}", f"lib/python{python}", f"include/python{python}"):
            target = folder / "usr" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            move(there / name, target)
        for path in there.glob("lib*.so.*"):
            copy(path, folder / "usr" / "lib" / machine.triplet)
    (folder / "usr" / "bin" / f"python{python}").chmod(0o755)


def unpack(architecture: str, suite: str, packages: str, folder: Path) -> None:
    """Unpack packages of Debian, and all that they depend on, into a folder; none of their scripts is run."""
    names = packages.replace(" ", ",")
    options = (f"--architectures={architecture}", "--variant=extract", f"--include={names}", "--quiet")
    # A copy of the archive may be older than Debian lets an unreleased suite be.
    lax = ("--aptopt=Acquire::Check-Valid-Until false",) if suite == "sid" else ()
    command = [need("mmdebstrap", "mmdebstrap"), *options, *lax, suite, str(folder), *archives(suite)]
    subprocess.run(command, check=True)
    # Since trixie everything lies in /usr, and a package's script, which does not run here, makes the links to it.
    for name in ("bin", "lib", "lib64", "sbin"):
        if (folder / "usr" / name).is_dir() and not (folder / name).exists():
            (folder / name).symlink_to(f"usr/{name}")


def archives(suite: str) -> list[str]:
    """Give the lines of sources.list that lead to a suite and its security updates, from the archives used here."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    places = dict.fromkeys(told)
    lines = [f"deb {place} {suite} main" for place in places if "security" not in place][:1]
    if suite != "sid":
        lines += [f"deb {place} {suite}-security main" for place in places if "security" in place][:1]
    return lines
