"""Rules of the house that no linter knows: what is documented, what may be imported, how things are called, where links
lead.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import otus_core
from docs.site import page_names
from otus_calls.commands import GROUPS
from otus_core import hookspecs
from otus_core.cli.commands import COMMANDS
from tests.needs import ROOT

LINES_MAX = 400
FORBIDDEN = re.compile(r"^(utils?|helpers?|common|misc|base)$")
DOCUMENTS = sorted(path for path in ROOT.glob("**/*.md") if not set(path.parts) & {".nox", ".venv", ".cache", "build"})


def sources() -> list[Path]:
    return sorted(
        path
        for folder in ROOT.glob("otus-*/src")
        for path in folder.rglob("*")
        if path.suffix in (".py", ".pyx") and ".egg-info" not in str(path)
    )


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_lines_of_compiled_modules_are_no_longer_than_those_of_others() -> None:
    """The linter sees Python alone."""
    width = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["line-length"]
    longer = [
        f"{path.relative_to(ROOT)}:{n}"
        for path in sorted([*ROOT.glob("otus-*/src/**/*.p[yx][xd]"), *ROOT.glob("tests/**/*.pyx")])
        for n, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > width
    ]
    assert longer == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in sources() if FORBIDDEN.fullmatch(path.stem)] == []


def test_every_module_says_what_it_is_for() -> None:
    silent = []
    for path in sources():
        text = path.read_text().lstrip()
        if path.name != "__init__.py" and not text.startswith(('"""', "# cython")):
            silent.append(str(path))
    assert silent == []


def test_every_public_name_is_documented() -> None:
    bare = []
    for name in otus_core.__all__:
        value = getattr(otus_core, name)
        if (inspect.isclass(value) or inspect.isroutine(value)) and not inspect.getdoc(value):
            bare.append(name)
    assert bare == []


def test_every_hook_is_documented_with_an_example() -> None:
    hooks = [value for name, value in vars(hookspecs).items() if name.startswith("otus_")]
    assert hooks
    assert [hook.__name__ for hook in hooks if "hookimpl" not in (hook.__doc__ or "")] == []
    guide = (ROOT / "docs" / "plugins.md").read_text()
    assert [hook.__name__ for hook in hooks if hook.__name__ not in guide] == []


def test_the_changelog_is_grouped_and_says_each_thing_once() -> None:
    """Merges of this file keep the lines of both sides: what one of them moved or took out may come back at its end."""
    lines = (ROOT / "CHANGELOG.md").read_text().split("\n## ", 1)[1].splitlines()[1:]
    entries = lines[lines.index("### Added") :]
    stray = [line for line in entries if line and not line.startswith(("### ", "- ", "  ")) and not line.endswith(":")]
    items = [line for line in entries if line.startswith(("### ", "- "))]
    assert (stray, sorted({item for item in items if items.count(item) > 1})) == ([], [])


def test_the_architecture_names_every_module() -> None:
    """The core's modules in its tables, a plugin's in the row of its package."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    core, plugins = text.split("\n## Files of the plugins\n")
    rows = dict(re.findall(r"^\| `(otus_\w+)` \| (.*)", plugins, re.MULTILINE))
    unnamed = []
    for path in [*sources(), *ROOT.glob("otus-*/src/**/*.pxd")]:
        package = path.relative_to(ROOT).parts[2]
        where = core if package == "otus_core" else rows.get(package, "") + " `plugin` `config`"
        if path.stem != "__init__" and not re.search(rf"`(\w+/)*{path.stem}(\.py|\.pyx|\.pxd)?`", where):
            unnamed.append(str(path.relative_to(ROOT)))
    assert sorted(unnamed) == []


def test_names_of_counters_are_made_and_read_in_one_place() -> None:
    """``model/counter_names.py`` knows their form; no other module of the core puts one together or takes one apart."""
    form = re.compile(
        r"\"(?:[^\"\n]*\.)?(?:dropped|errors|parse_errors|state|status|records|consumed|counted|hidden)\{"
    )
    found = [
        f"{path.name}:{number}"
        for path in sources()
        if "otus_core" in path.parts and path.name != "counter_names.py" and "testing" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if form.search(line.partition("#")[0])
    ]
    assert found == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target]
    assert [target for target in targets if not (path.parent / target).exists()] == []


def named(entries: object) -> Iterator[str]:
    """Give the pages that the navigation names."""
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict):
        yield from (page for value in entries.values() for page in named(value))
    elif isinstance(entries, list):
        yield from (page for value in entries for page in named(value))


def test_every_document_is_in_the_navigation_once() -> None:
    config = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text())
    assert sorted(named(config["project"]["nav"])) == sorted(set(page_names().values()))


def test_the_documents_name_commands_that_exist() -> None:
    unknown = set()
    known = {*COMMANDS, "fleet", "media", *GROUPS}
    for path in DOCUMENTS:
        text = path.read_text()
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL):
            for command in re.findall(r"(?:^|[$;|] *|sudo )otus ([a-z]+)", block, re.MULTILINE):
                unknown |= {f"{path.name}: otus {command}"} if command not in known else set()
    assert unknown == set()


def test_nothing_names_a_workplace_or_a_registry() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pattern = re.compile(rb"files\.pythonhosted\.org|pypi\.org/simple|/" + rb"work/(main|venv|\.library)")
    named = []
    for name in listed.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix not in (".pcap", ".pcapng", ".gz") and pattern.search(path.read_bytes()):
            named.append(name)
    assert named == []
