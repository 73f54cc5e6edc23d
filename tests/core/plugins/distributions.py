"""Throw-away distributions, really installed: a module and a dist-info folder where Python looks for packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Site:
    """A folder of installed distributions."""

    folder: Path

    def install(
        self,
        name: str,
        source: str,
        *,
        version: str = "1.0",
        entry_point: str | None = None,
        requires: Sequence[str] = ("otus-core>=0.1,<0.2",),
        modules: Mapping[str, str] | None = None,
    ) -> None:
        """Install a distribution whose entry point, named as it is unless said otherwise, is a module
        with this source.
        """
        module = name.replace("-", "_")
        entry_point = entry_point or name.removeprefix("otus-plugin-")
        for filename, text in {module: source, **(modules or {})}.items():
            (self.folder / f"{filename}.py").write_text(textwrap.dedent(text))
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        required = "".join(f"Requires-Dist: {text}\n" for text in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}")
        (info / "entry_points.txt").write_text(f"[otus.plugins]\n{entry_point} = {module}\n")
        (info / "RECORD").write_text("")
        (info / "INSTALLER").write_text("test\n")

    @property
    def cache(self) -> Path:
        """The file in which is kept what plugins offer."""
        return self.folder / "home" / "otus" / "plugins.json"

    def otus(self, *arguments: str, first: str = "pass", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``otus`` in a process that sees these distributions beside what is installed, after the statement
        ``first``.
        """
        code = f"import sys; from otus_core.cli import main; {first}; sys.exit(main())"
        (home := self.folder / "home").mkdir(exist_ok=True)
        about = {"PYTHONPATH": str(self.folder), "NO_COLOR": "1", "XDG_CACHE_HOME": str(home)}
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **about, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def rows(self, *arguments: str, **environment: str) -> list[dict[str, Any]]:
        """Give what ``otus plugins list --json`` says."""
        done = self.otus(*arguments, "plugins", "list", "--json", **environment)
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def row(self, distribution: str, *arguments: str, **environment: str) -> dict[str, Any]:
        """Give the one row of a distribution."""
        (row,) = [row for row in self.rows(*arguments, **environment) if row["distribution"] == distribution]
        return row


GOOD = """
    import otus_core

    @otus_core.hookimpl
    def otus_components():
        yield otus_core.Parser(name="{name}", factory="{name}_parts:Parts", payload_types=("{name}",), summary="{name}")
"""


def good(name: str) -> str:
    """Give the source of a plugin that works and declares one parser."""
    return textwrap.dedent(GOOD).format(name=name)
