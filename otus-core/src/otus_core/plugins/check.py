"""Holds plugins to the contract, as far as that needs no data: each is loaded in a process of its own.

In: a plugin's name, or a folder with its source. Out: a report a plugin, plain: ``plugin``, ``distribution``,
``version`` and ``findings``, each with ``rule``, ``status`` (``passed``, ``warning``, ``failed``) and ``message``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from otus_core.errors import OtusError, PluginNotFound
from otus_core.interpreter import command, environment
from otus_core.model.text import printable
from otus_core.plugins.discovery import find, unknown
from otus_core.plugins.records import PluginRecord
from otus_core.plugins.selection import Selection, normalize

TIME_MAX_S = 60.0
"""A plugin that has not been checked by then hangs."""
AGAIN = 2
"""Times that a slow import is measured again; the quickest counts."""
HEAVIEST = 3
"""Packages that are named: mostly one of them is what can be imported later."""
IMPORTED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
OURS = frozenset({"otus_core", *sys.stdlib_module_names})
QUICK = "is imported quickly"

Report = dict[str, Any]


def check_all(selection: Selection, taken: Collection[str] = ()) -> list[Report]:
    """Check every plugin that the selection wants; ``taken`` are the names of the core's commands."""
    return [_check(record, taken) for record in find(selection) if record.stage != "disabled"]


def check_plugin(name: str, taken: Collection[str] = ()) -> list[Report]:
    """Check the installed plugins with this entry point or distribution name. Raises PluginNotFound."""
    there = find()
    records = [record for record in there if name == record.plugin or normalize(name) == normalize(record.distribution)]
    if not records:
        raise PluginNotFound(unknown([name], there)[0])
    return [_check(record, taken) for record in records]


def check_path(folder: Path, taken: Collection[str] = ()) -> list[Report]:
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
        return [_check(record, taken, temporary, str(source.resolve())) for record in records]


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


def _check(record: PluginRecord, taken: Collection[str], *folders: str) -> Report:
    """Hold a plugin to the rules in a process of its own, and once more where it was imported slowly: the machine may
    have been busy.
    """
    report = _check_apart(record, taken, *folders)
    if _slowness(report) is None:
        return report
    found = [_check_apart(record, taken, *folders) for _ in range(AGAIN)]
    # The quickest: another process can make an import slower, and nothing makes it faster.
    best = min((report, *found), key=lambda one: (_slowness(one) or {}).get("seconds", 0.0))
    slow = _slowness(best)
    if slow is not None:
        slow["message"] += _heaviest(record, *folders)
    return best


def _slowness(report: Report) -> dict[str, Any] | None:
    """Give the finding that a plugin is imported slowly, if there is one."""
    slow = (one for one in report["findings"] if one["rule"] == QUICK and one["status"] != "passed")
    return next(slow, None)


def _heaviest(record: PluginRecord, *folders: str) -> str:
    """Name the packages that importing a plugin spends most time in, as Python itself measures it."""
    python, *rest = command("otus_core.plugins.contract", record.plugin, record.distribution, "")
    told = _run([python, "-X", "importtime", *rest], *folders)
    spent: dict[str, int] = {}
    for line in told.stderr.decode("utf-8", "replace").splitlines() if told is not None else ():
        found = IMPORTED.match(line)  # import time: SELF | CUMULATIVE | NAME, in microseconds
        if found is not None:
            package = found[2].partition(".")[0]
            spent[package] = spent.get(package, 0) + int(found[1])
    heavy = sorted(((us, name) for name, us in spent.items() if name not in OURS), reverse=True)[:HEAVIEST]
    named = ", ".join(f"{printable(name, 40)} {us / 1e6:.2f} s" for us, name in heavy)
    return f" (most of it: {named})" if named else ""


def _run(arguments: list[str], *folders: str) -> subprocess.CompletedProcess[bytes] | None:
    """Run a process that imports from these folders first; ``None`` if it does not end."""
    try:
        return subprocess.run(
            arguments,
            env=environment(os.environ, *folders),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIME_MAX_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


def _check_apart(record: PluginRecord, taken: Collection[str], *folders: str) -> Report:
    """Run the contract's rules in a subprocess that imports from these folders first; one that dies or hangs is a
    finding too.
    """
    about = {"plugin": record.plugin, "distribution": record.distribution, "version": record.version}
    done = _run(command("otus_core.plugins.contract", record.plugin, record.distribution, ",".join(taken)), *folders)
    if done is None:
        return about | {"findings": [_dead(f"is not done after {TIME_MAX_S:.0f} s")]}
    try:
        findings: Iterable[Any] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else ()
    except (ValueError, IndexError):
        findings = ()
    if not findings:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        findings = [_dead(f"its process ended with status {done.returncode}: {''.join(last)[:300]}")]
    return about | {"findings": list(findings)}


def _dead(message: str) -> dict[str, str]:
    return {"rule": "survives being loaded", "status": "failed", "message": message}
