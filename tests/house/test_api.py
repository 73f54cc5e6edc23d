"""All that a plugin may use is documented: each name that the core exports, and what the classes among them have."""

from __future__ import annotations

import re

import pytest

import otus_core
from docs.api import PARTS, api_page

PAGE = api_page()
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
CLASSES = [getattr(otus_core, name) for name in otus_core.__all__ if isinstance(getattr(otus_core, name), type)]
FOREIGN = (object, Exception, dict, tuple)


def members(cls: type) -> set[str]:
    """Give what is public of a class, but for what it has from classes of Python's own."""
    inherited = {name for base in FOREIGN if issubclass(cls, base) for name in dir(base)}
    own = {*dir(cls), *(cls.__annotations__ if issubclass(cls, dict) else ())}  # a TypedDict has its keys there alone
    return {name for name in own if not name.startswith("_")} - inherited


def test_every_name_that_the_core_exports_has_a_section_that_says_what_it_is() -> None:
    assert {*SECTIONS} == {*otus_core.__all__, *(part.__name__ for part in PARTS)}
    said = {name: re.sub(r"```.*?```|[|`\-\s]", "", text, flags=re.DOTALL) for name, text in SECTIONS.items()}
    assert [name for name, text in said.items() if len(text) < 15] == []


@pytest.mark.parametrize("cls", [*CLASSES, *PARTS], ids=lambda cls: cls.__name__)
def test_every_field_and_method_is_said_to_mean_something(cls: type) -> None:
    text = SECTIONS[cls.__name__]
    fields = dict(re.findall(r"^\| `(\w+)` \| `.*?` \| (.*) \|$", text, re.MULTILINE))
    methods = dict(re.findall(r"^`(?:async )?(\w+)\(.*\)(?: -> .*)?`\n\n(\S.*)$", text, re.MULTILINE))
    assert members(cls) - {*fields, *methods} == set()
    assert [name for name, meaning in (fields | methods).items() if not meaning.strip()] == []
