"""Installs a distribution where only one test sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OTUS = str(Path(sys.executable).with_name("otus"))


class Installed:
    """Distributions in a folder of their own, before all others on the path of the processes that are run here."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        cache = str(folder.parent / f"{folder.name}-cache")  # what Otus keeps of plugins is not to be among the results
        self.environment = {**os.environ, "PYTHONPATH": str(self.site), "NO_COLOR": "1", "XDG_CACHE_HOME": cache}

    def install(self, source: Path) -> None:
        """Install with plain pip, as a user does, but from what is here already."""
        copy = self.site.parent / f"source-{source.name}"
        subprocess.run(["cp", "-r", str(source), str(copy)], check=True)  # a build leaves files behind
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run([*pip, "--target", str(self.site), str(copy)], check=True, capture_output=True)

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
        return self.run(OTUS, *arguments)
