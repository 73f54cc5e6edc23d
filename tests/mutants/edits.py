"""Faults to be put into the source: which text of which file becomes which other text, and the tests that have to
notice.

In: ``*.toml`` beside this file. Out: ``Edit``s. Raises ``Stale`` where the source no longer holds what an edit changes.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
LISTS = ("python", "cython")


class Stale(Exception):
    """A list no longer fits the source."""


@attrs.frozen(kw_only=True)
class Edit:
    """One fault.

    ``tests`` are pytest's names; ``compiles`` the modules to compile again, which for a ``.pyx`` is itself.

    ``equivalent`` says why no test can see it; ``sample`` that CI tries it each time.
    """

    name: str
    part: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    compiles: tuple[str, ...] = ()
    equivalent: str = ""
    sample: bool = False

    @property
    def modules(self) -> tuple[str, ...]:
        """The ``.pyx`` files to compile again."""
        return self.compiles or ((self.file,) if self.file.endswith(".pyx") else ())

    def apply(self, text: str) -> str:
        """Give a file's text with the fault in it. Raises Stale."""
        found = text.count(self.old)
        if found != 1:
            raise Stale(f"{self.name}: {self.file} holds the text that is to be changed {found} times, not once")
        return text.replace(self.old, self.new)


def read_edits(part: str) -> list[Edit]:
    """Give the edits of one list. Raises Stale for one that is not complete."""
    listed = tomllib.loads((Path(__file__).parent / f"{part}.toml").read_text())
    edits = []
    for name, entry in listed.items():
        tests = tuple(entry.pop("tests"))
        edits.append(Edit(name=name, part=part, tests=tests, compiles=tuple(entry.pop("compiles", ())), **entry))
    return edits


def check(edit: Edit) -> None:
    """See to it that an edit still applies, changes something, and that its tests exist. Raises Stale."""
    if edit.apply((ROOT / edit.file).read_text()) == (ROOT / edit.file).read_text():
        raise Stale(f"{edit.name}: changes nothing")
    if edit.file.endswith((".pyx", ".pxd")) and not edit.modules:
        raise Stale(f"{edit.name}: {edit.file} is compiled into others: name them in compiles")
    for test in edit.tests:
        path, *names = test.split("::")
        if not (ROOT / path).exists() or any(f" {name}(" not in (ROOT / path).read_text() for name in names):
            raise Stale(f"{edit.name}: there is no test {test}")
