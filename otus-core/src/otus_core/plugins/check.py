"""Holds plugins to the contract, as far as that needs no data: each is loaded in a process of its own.

In: a plugin's name, or a folder with its source. Out: a report a plugin, plain: ``plugin``, ``distribution``,
``version`` and ``findings``, each with ``rule``, ``status`` (``passed``, ``warning``, ``failed``) and ``message``.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from otus_core.errors import OtusError, PluginNotFound
from otus_core.interpreter import command, environment
from otus_core.plugins.discovery import find
from otus_core.plugins.records import PluginRecord
from otus_core.plugins.selection import Selection

TIME_MAX_S = 60.0
"""A plugin that has not been checked by then hangs."""

Report = dict[str, Any]


def check_all(selection: Selection) -> list[Report]:
    """Check every plugin that the selection wants."""
    return [_check(record) for record in find(selection) if record.stage != "disabled"]


def check_plugin(name: str) -> list[Report]:
    """Check the installed plugins with this entry point or distribution name. Raises PluginNotFound."""
    records = [record for record in find() if name in (record.plugin, record.distribution)]
    if not records:
        names = ", ".join(sorted(record.plugin for record in find())) or "none"
        raise PluginNotFound(f"there is no plugin {name!r}; installed: {names}")
    return [_check(record) for record in records]


def check_path(folder: Path) -> list[Report]:
    """Check a distribution where it lies, without installing it. Raises OtusError when there is none."""
    project = _project(folder)
    entries = project.get("entry-points", {}).get("otus.plugins", {})
    if not entries:
        raise OtusError(f'{folder}: pyproject.toml names no plugin: it needs [project.entry-points."otus.plugins"]')
    with tempfile.TemporaryDirectory(prefix="otus-check-") as temporary:
        _write_metadata(Path(temporary), project, entries)
        source = folder / "src" if (folder / "src").is_dir() else folder
        version = str(project.get("version", "0"))
        records = [PluginRecord(plugin=name, distribution=project["name"], version=version) for name in entries]
        return [_check(record, temporary, str(source.resolve())) for record in records]


def _project(folder: Path) -> dict[str, Any]:
    try:
        project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
        assert project["name"]
    except OSError as error:
        raise OtusError(f"{folder}: holds no distribution: pyproject.toml: {error.strerror}") from None
    except (ValueError, LookupError, AssertionError) as error:
        raise OtusError(f"{folder}/pyproject.toml: cannot be read: {error}") from None
    return project


def _write_metadata(folder: Path, project: Mapping[str, Any], entries: Mapping[str, str]) -> None:
    """Write what an installer would: the metadata by which the loader finds the plugin."""
    name, version = project["name"], str(project.get("version", "0"))
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    requires = "".join(f"Requires-Dist: {text}\n" for text in project.get("dependencies", ()))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}", "utf-8")
    listed = "".join(f"{key} = {value}\n" for key, value in entries.items())
    (info / "entry_points.txt").write_text(f"[otus.plugins]\n{listed}", "utf-8")


def _check(record: PluginRecord, *folders: str) -> Report:
    """Run the contract's rules in a subprocess that imports from these folders first; one that dies or hangs is a
    finding too.
    """
    about = {"plugin": record.plugin, "distribution": record.distribution, "version": record.version}
    try:
        done = subprocess.run(
            command("otus_core.plugins.contract", record.plugin, record.distribution),
            env=environment(os.environ, *folders),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIME_MAX_S,
            check=False,
        )
        findings: Iterable[Any] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else ()
    except subprocess.TimeoutExpired:
        return about | {"findings": [_dead(f"is not done after {TIME_MAX_S:.0f} s")]}
    except (ValueError, IndexError):
        findings = ()
    if not findings:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        findings = [_dead(f"its process ended with status {done.returncode}: {''.join(last)[:300]}")]
    return about | {"findings": list(findings)}


def _dead(message: str) -> dict[str, str]:
    return {"rule": "survives being loaded", "status": "failed", "message": message}
