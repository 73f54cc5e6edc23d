"""Installs a distribution where only one test sees it: beside what is here, or in an environment of wheels alone."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from tests.needs import ROOT

WHEELS = tuple(map(Path, filter(None, os.environ.get("OTUS_WHEELS", "").split(os.pathsep))))
"""Wheels of Otus's own distributions, which ``nox`` builds before it runs the tests."""
OTUS = str(Path(sys.executable).with_name("otus"))


class Installed:
    """Distributions in a folder of their own, before all others on the path of the processes that are run here."""

    def __init__(self, folder: Path) -> None:
        self.python, self.program = sys.executable, OTUS
        self.site = folder / "site"
        cache = str(folder.parent / f"{folder.name}-cache")  # what Otus keeps of plugins is not to be among the results
        self.environment = {**os.environ, "PYTHONPATH": str(self.site), "NO_COLOR": "1", "XDG_CACHE_HOME": cache}

    def install(self, source: Path) -> None:
        """Install with plain pip, as a user does, but from what is here already."""
        copy = self._copied(source)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run([*pip, "--target", str(self.site), str(copy)], check=True, capture_output=True)

    def _copied(self, source: Path) -> Path:
        """Copy sources, for a build leaves files behind, and their tests are not to find this project's settings."""
        self.copy = self.site.parent / f"source-{source.name}"
        subprocess.run(["cp", "-r", str(source), str(self.copy)], check=True)
        return self.copy

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        """Run a program that sees what is installed here."""
        return subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=120,
            check=False,
        )

    def otus(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return self.run(self.program, *arguments)


class FromWheels(Installed):
    """A fresh virtual environment in which there are wheels and nothing else: some of Otus's distributions, a plugin
    with what its ``test`` extra asks for, and what all of these depend on, from the package index.
    """

    def __init__(self, folder: Path, *own: str) -> None:
        super().__init__(folder)
        del self.environment["PYTHONPATH"]
        self._own = [path for path in WHEELS if path.name.split("-")[0].replace("_", "-") in own]
        assert len(self._own) == len(own), (own, WHEELS)
        venv.create(folder / "alone", with_pip=True, symlinks=True)
        self.python, self.program = (str(folder / "alone" / "bin" / name) for name in ("python", "otus"))

    def install(self, source: Path) -> None:
        """Build a wheel of a plugin, where there is what that needs, and install it with all that it depends on."""
        dist, copy = self.site.parent / "dist", self._copied(source)
        build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run([*build, "-w", str(dist), str(copy)], check=True, capture_output=True)
        (built,) = dist.glob("*.whl")
        pip = [self.python, "-m", "pip", "install", "-q", "--only-binary", ":all:", "-c", str(ROOT / "constraints.txt")]
        done = self.run(*pip, *self._own, f"{source.name}[test] @ {built.as_uri()}")
        assert done.returncode == 0, done.stderr
