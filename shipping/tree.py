"""Puts together a folder that holds Python, Otus and every library that they need, and that runs wherever it lies.

In: Debian's CPython for a machine (``machines.sysroot``) and wheels. Out: ``bin/otus`` and ``bin/python3`` (the
launcher twice), ``bin/python3.11``, and in ``lib`` the standard library, what the wheels hold, shared libraries and
the loader.
The C library is among them, so that the machine's own does not matter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from shipping import DISTRIBUTIONS, ROOT
from shipping.machines import Machine, need, sysroot
from shipping.release import installed

PYTHON = "3.11"
"""What Debian's stable suite maintained longest; the launcher names it too."""
LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
UNUSED = {"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data", "__pycache__"}
"""Of the standard library: what nothing here imports, and what is compiled anew."""
OPENED = ("libpcap.so.0.8",)
"""Libraries that no file is linked to: they are opened by name when they are needed."""
PLUGINS = "/opt/otus/plugins"
MAIN = f"""\
import os
import sys

if os.path.isdir("{PLUGINS}"):
    os.environ.setdefault("OTUS_PLUGIN_DIR", "{PLUGINS}")

from otus_core.cli import main

sys.argv[0] = "otus"
sys.exit(main())
"""
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux1", "manylinux_2_5")


def build(machine: Machine, wheels: Iterable[Path], out: Path) -> Path:
    """Make the folder ``out`` for a machine from wheels of Otus; everything else comes by the pinned versions."""
    root = sysroot(machine, PYTHON)
    shutil.rmtree(out, ignore_errors=True)
    packages = out / "lib" / "python3" / "dist-packages"  # where Debian's interpreter looks
    packages.mkdir(parents=True)
    (out / "bin").mkdir()
    shutil.copy2(root / "usr" / "bin" / f"python{PYTHON}", out / "bin")
    ignored = shutil.ignore_patterns(*UNUSED, "config-*", "*.a")
    shutil.copytree(root / "usr" / "lib" / f"python{PYTHON}", out / "lib" / f"python{PYTHON}", ignore=ignored)
    _drop_links(out, root)
    _install(machine, wheels, packages)
    (out / "lib" / "otus").write_text(MAIN)
    _copy_libraries(machine, root, out)
    _copy_licences(root, out / "share" / "licences")
    launcher = compile_launcher(machine, root, out / "bin" / "python3")
    shutil.copy2(launcher, out / "bin" / "otus")
    _compile(machine, out)
    return out


def _drop_links(out: Path, root: Path) -> None:
    """Put files in the place of links, which lead out of the folder, and drop those that lead nowhere."""
    for path in sorted(out.rglob("*")):
        if path.is_symlink():
            target = os.readlink(path)
            source = root / target.lstrip("/") if target.startswith("/") else path.parent / target
            path.unlink()
            if source.is_file():
                shutil.copy2(source, path)


def install(machine: Machine, python: str, wheels: Iterable[Path], target: Path, *more: str) -> None:
    """Install wheels into a folder for a machine and a Python, with what they depend on, in the versions that are
    installed here; and ``more``.

    pip evaluates conditions such as ``platform_machine`` for the machine that it runs on, so what is wanted is named.
    Without cypcap: it has no wheel for ARM, and libpcap is used as a library.
    """
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_{machine.name}")]
    options = ("-q", "--no-compile", "--no-deps", "--only-binary=:all:", "--python-version", python)
    ours = {*DISTRIBUTIONS, "cypcap"}
    others = [f"{one.name}=={one.version}" for one in installed(*more) if one.name not in ours]
    command = [sys.executable, "-m", "pip", "install", *options, *platforms, "--target", str(target)]
    subprocess.run([*command, *map(str, wheels), *others], check=True)


def _install(machine: Machine, wheels: Iterable[Path], packages: Path) -> None:
    install(machine, PYTHON, wheels, packages, "textual")
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for path in [*packages.glob("otus_*/**/*.pxd"), *packages.glob("**/*.pyi"), *packages.glob("**/tests")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _copy_libraries(machine: Machine, root: Path, out: Path) -> None:
    """Copy what files are linked to, and what that is linked to, until nothing is missing."""
    here = [root / "usr" / "lib" / machine.triplet, root / "lib" / machine.triplet, root / "lib", root / "lib64"]
    loader = _find(LOADERS[machine.name], here)
    shutil.copy2(loader, out / "lib" / "ld.so")
    own = {path.name for path in out.rglob("*.so*")}  # what wheels bring beside their modules
    waiting = [name for path in out.rglob("*") if path.is_file() for name in needed(path)] + list(OPENED)
    while waiting:
        name = waiting.pop()
        if name not in own:
            own.add(name)
            shutil.copy2(_find(name, here), out / "lib" / name)
            waiting += needed(out / "lib" / name)


def _find(name: str, folders: Iterable[Path]) -> Path:
    for folder in folders:
        if (folder / name).exists():
            return (folder / name).resolve()
    sys.exit(f"{name} is in none of {', '.join(map(str, folders))}")


def needed(path: Path) -> Iterator[str]:
    """Give the names of the libraries that a file is linked to; none if it is no ELF file."""
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return
        try:
            for section in ELFFile(file).iter_sections():
                if isinstance(section, DynamicSection):
                    yield from (str(vars(tag)["needed"]) for tag in section.iter_tags("DT_NEEDED"))
        except ELFError as error:
            sys.exit(f"{path}: {error}")


def _copy_licences(root: Path, out: Path) -> None:
    """Copy the licences of what comes from Debian; those of wheels lie in their ``dist-info``."""
    out.mkdir(parents=True)
    for path in sorted((root / "usr" / "share" / "doc").glob("*/copyright")):
        if path.parent.name.startswith(("lib", "python")) and path.is_file():
            shutil.copyfile(path, out / path.parent.name)


def compile_launcher(machine: Machine, root: Path, out: Path) -> Path:
    """Compile the launcher for a machine; it is linked statically."""
    compiler = need(machine.compiler, f"gcc-{machine.triplet.replace('_', '-')}")
    library = root / "usr" / "lib" / machine.triplet / "liblzma.a"
    options = ("-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-D_GNU_SOURCE")
    include = ("-idirafter", str(root / "usr" / "include"))
    source = ROOT / "shipping" / "launcher.c"
    subprocess.run([compiler, *options, *include, str(source), str(library), "-o", str(out)], check=True)
    return out


def _compile(machine: Machine, out: Path) -> None:
    """Compile every module to bytecode that is never checked against its source: nobody can write there."""
    here = (machine.runs(out / "lib" / "ld.so"), "--library-path", out / "lib", out / "bin" / f"python{PYTHON}")
    options = ("-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", out, "-j", "2")
    folders = (out / "lib" / f"python{PYTHON}", out / "lib" / "python3")
    command = [*here[0], *map(str, (*here[1:], *options, *folders))]
    subprocess.run(command, env={"PYTHONHOME": str(out)}, check=True, stdout=subprocess.DEVNULL)
