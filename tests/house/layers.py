"""Reads what modules import, Cython's included: the linter of imports sees Python alone."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.needs import ROOT

SUFFIXES = (".py", ".pyx", ".pxd", ".pyi")
FROM = re.compile(r"^[ \t]*from[ \t]+(?P<module>[\w.]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n]*)", re.MULTILINE)
PLAIN = re.compile(r"^[ \t]*c?import[ \t]+(?P<modules>[\w., \t]+)", re.MULTILINE)
TYPE_CHECKING = re.compile(r"^if TYPE_CHECKING:\n(?:[ \t]+[^\n]*\n|\n)+", re.MULTILINE)
CORE = "otus_core"
INLINE = "otus_core.inline"
"""What plugins may cimport: it is compiled into them."""


def imported(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give each module that a source imports or cimports, and which names of it; what only type checkers see is left
    out.
    """
    text = TYPE_CHECKING.sub("", text)
    for match in FROM.finditer(text):
        names = re.sub(r"#[^\n]*", "", match["names"]).strip("() \n")
        yield match["module"], tuple(name.split()[0] for name in names.split(",") if name.strip())
    for match in PLAIN.finditer(text):
        for module in match["modules"].split(","):
            yield module.split()[0], ()


def core_layers() -> dict[str, int]:
    """Give the layer of each part of the core, 0 the lowest, as the linter's contract in pyproject.toml has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["id"] == "layers"]
    return {part: n for n, line in enumerate(reversed(layers)) for part in re.split(r"[ |:]+", line)}


def upward(path: Path, source: Path, layers: dict[str, int]) -> list[str]:
    """Give the imports of one file of the core that lead to a higher layer, or to a plugin.

    ``source`` is the folder that holds ``otus_core``.
    """
    here = layers.get(path.relative_to(source / CORE).with_suffix("").parts[0])
    wrong = []
    for module, names in imported(path.read_text()):
        parts = module.split(".")
        if parts[0].startswith("otus_") and parts[0] != CORE:
            wrong.append(f"{path}: {module}")
        elif parts[0] == CORE and here is not None:
            targets = parts[1:2] or [name for name in names if name in layers]
            wrong += [f"{path}: {module} {target}" for target in targets if layers.get(target, -1) > here]
    return wrong


def beyond_the_public(path: Path, own: str, public: frozenset[str]) -> list[str]:
    """Give what one file of a plugin imports of the core that is not public, and of other plugins.

    Distributions share no binary interface: what they cimport of the core is inline.
    """
    text = path.read_text()
    cimported = re.findall(r"(?:from|cimport)[ \t]+(otus_core\S*)[ \t]*cimport", text)
    wrong = [f"{path}: cimport of {module}" for module in cimported if not module.startswith(f"{INLINE}.")]
    for module, names in imported(text):
        if module in cimported:
            continue
        package = module.partition(".")[0]
        if package.startswith("otus_") and package not in (CORE, own):
            wrong.append(f"{path}: {module}")
        elif package == CORE:
            wrong += [f"{path}: {module}.{name}" for name in names if module != CORE or name not in public]
            wrong += [f"{path}: {module}"] if module != CORE and not names else []
    return wrong


def circles(package: Path) -> list[str]:
    """Give the Python modules of a package that import each other, directly or through others, also for types alone, or
    within functions; and those on a way from one such circle to another.
    """
    files = {_name(path, package): path for path in package.rglob("*.py")}
    needs = {name: _needed(path, set(files)) - {name} for name, path in files.items()}
    while True:  # take away what needs nothing of the rest, and what nothing of the rest needs
        needed = set().union(*needs.values())
        left = {name: its & needs.keys() for name, its in needs.items() if name in needed and its & needs.keys()}
        if left == needs:
            return sorted(left)
        needs = left


def _name(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")


def _needed(path: Path, modules: set[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            within = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            found |= within or {node.module}
    return found & modules
