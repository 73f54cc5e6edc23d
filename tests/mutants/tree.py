"""A copy of the working tree in which faults are put in and tests run, with a Python of its own that imports nothing of
ours from anywhere else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.mutants.edits import ROOT, Stale
from tests.needs import CORPORA

LEFT_OUT = shutil.ignore_patterns(".*", "build", "*.egg-info", "*.c", "*.so", "__pycache__")
BUILT = ROOT / ".cache" / "mutants"
"""Compiled mutants, by a digest of what they were made from: a second run compiles only what has changed."""
TOLD_LINES = 12


@attrs.frozen
class Ran:
    """What became of a run of tests: pytest's exit status, ``None`` where the time was over; and its last lines."""

    status: int | None
    seconds: float
    told: str


class Tree:
    """One copy. Each fault is put in for as long as its tests run, and taken out again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._saved = 0
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT, symlinks=True)
        self._sources = sorted(folder.glob("otus-*/src"))
        self._builds = folder / "otus-core" / "src" / "otus_core" / "build.py"
        self._builds.write_text(self._builds.read_text().replace("-O3", "-O0"))  # half the time, and the same behaviour
        self._originals: dict[Path, bytes] = {}
        for source in self._sources:
            for package in source.glob("otus_*"):
                _copy_compiled(package)
        self.python = self._make_python()

    def _make_python(self) -> Path:
        """Make a virtual environment whose only packages of ours are those of this copy; the others come from the one
        that runs this.
        """
        home = self.folder / ".venv"
        venv.create(home, symlinks=True, with_pip=False)
        python = home / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        paths = [*map(str, self._sources), sysconfig.get_path("purelib")]
        (home / "lib" / version / "site-packages" / "tree.pth").write_text("\n".join(paths) + "\n")
        script = python.with_name("otus")
        script.write_text(f"#!{python}\n" + Path(sys.executable).with_name("otus").read_text().partition("\n")[2])
        script.chmod(0o755)
        return python

    @contextmanager
    def holding(self, file: str, text: str, modules: Sequence[str] = ()) -> Iterator[None]:
        """Have ``text`` in the place of a file's own, and the compiled ``modules`` made from it.

        Raises Stale where it does not compile.
        """
        path = self.folder / file
        original = path.read_text()
        compiled = {module: self._compiled(module) for module in modules}
        before = {module: found.read_bytes() for module, found in compiled.items()}
        try:
            self._write(path, text.encode())
            for module, target in compiled.items():
                self._replace(target, self._compile(module))
            yield
        finally:
            self._write(path, original.encode())
            for module, target in compiled.items():
                self._replace(target, before[module])

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file with a time of its own: Python takes a cached module for current by time and size."""
        path.write_bytes(data)
        self._saved += 1
        os.utime(path, (self._saved, self._saved))

    def _replace(self, target: Path, data: bytes) -> None:
        target.unlink()  # a process that still runs keeps the file that it has mapped
        target.write_bytes(data)

    def _compiled(self, module: str) -> Path:
        path = self.folder / module
        found = sorted(path.parent.glob(f"{path.stem}.*.so"))
        if len(found) != 1:
            raise Stale(f"{module} is not compiled: nox -s dev, or nox -s mutants")
        return found[0]

    def _compile(self, module: str) -> bytes:
        """Compile one module by its distribution's own setup.py."""
        distribution = self.folder / Path(module).parts[0]
        kept = BUILT / f"{self._digest(module)}.so"
        if not kept.exists():
            scratch = self.folder / ".scratch"
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(distribution, scratch, ignore=shutil.ignore_patterns("*.so", "*.pyx", "__pycache__"))
            inside = Path(module).relative_to(distribution.name)
            shutil.copy(self.folder / module, scratch / inside)
            command = [str(self.python), "setup.py", "-q", "build_ext", "--inplace"]
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
            made = sorted((scratch / inside).parent.glob(f"{inside.stem}.*.so"))
            if done.returncode or len(made) != 1:
                raise Stale(f"{module} does not compile: {(done.stdout + done.stderr)[-1500:]}")
            BUILT.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}-{id(self)}")
            shutil.copy(made[0], part)
            part.replace(kept)
        return kept.read_bytes()

    def _digest(self, module: str) -> str:
        state = hashlib.sha256(f"{sys.implementation.cache_tag} {module}\0".encode())
        inputs = [self.folder / module, self.folder / Path(module).parts[0] / "setup.py", self._builds]
        inputs += [path for source in self._sources for path in sorted(source.rglob("*.pxd"))]
        for path in inputs:
            state.update(f"{path.relative_to(self.folder)}\0".encode() + path.read_bytes())
        return state.hexdigest()[:32]

    def run(self, tests: Sequence[str], within: float) -> Ran:
        """Run tests in this copy, until the first that fails. What they leave behind ends with them."""
        command = [str(self.python), "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "OTUS_CORPORA": str(CORPORA)}
        environment.pop("PYTHONPATH", None)
        begun = time.monotonic()
        with tempfile.TemporaryFile() as out:  # not a pipe, which a process that outlives its test would keep open
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            status: int | None = None
            try:
                status = process.wait(within)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            out.seek(0)
            told = "\n".join(out.read().decode(errors="replace").splitlines()[-TOLD_LINES:])
        return Ran(status, time.monotonic() - begun, told)


def _copy_compiled(package: Path) -> None:
    """Put the compiled modules of an installed package where the copy has their sources."""
    spec = importlib.util.find_spec(package.name)
    if spec is None or not spec.submodule_search_locations:
        raise Stale(f"{package.name} is not installed")
    installed = Path(next(iter(spec.submodule_search_locations)))
    for compiled in installed.rglob("*.so"):
        shutil.copy(compiled, package / compiled.relative_to(installed))
