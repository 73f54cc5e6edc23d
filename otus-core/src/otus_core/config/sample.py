"""A commented YAML sample of a configuration class: every key, with its help and its default.

Reading it back gives the defaults.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Mapping
from typing import Any

from otus_core.config.converter import unstructure
from otus_core.config.shape import (
    Choice,
    Either,
    Entries,
    Field,
    Items,
    Length,
    Nested,
    Null,
    Scalar,
    Shape,
    fields_of,
    figure,
    say,
)

WIDTH = 100
"""Columns of a comment: what most editors show."""


def sample(cls: type, indent: int = 0) -> str:
    """Give the sample as YAML text. A key without a default gets a value to be replaced, and its comment says so."""
    return "".join(_field(field, " " * indent) for field in fields_of(cls))


def example_of(cls: type) -> dict[str, Any]:
    """Give plain settings for a first try: an example or a placeholder for what has no default, and other examples."""
    return {
        field.key: placeholder(field) for field in fields_of(cls) if field.required or field.option.example is not None
    }


def outline(cls: type, indent: int, given: Mapping[str, Any], skip: Collection[str] = ()) -> str:
    """Give all fields but those to ``skip``, as YAML in which only what is ``given`` is in force: the others are
    commented out (``#key: default``), so that removing one ``#`` puts them in force.
    """
    margin = " " * indent
    return "".join(_outline(field, margin, given) for field in fields_of(cls) if field.key not in skip)


def _outline(field: Field, margin: str, given: Mapping[str, Any]) -> str:
    if field.key in given:
        return f"{_comment(field, margin)}{margin}{field.key}: {json.dumps(given[field.key], ensure_ascii=False)}\n"
    lines = _field(field, margin).splitlines()
    return "".join(f"{line}\n" if line.lstrip().startswith("# ") else f"{_comment_out(line)}\n" for line in lines)


def _comment_out(line: str) -> str:
    """Comment out one line of YAML."""
    rest = line.lstrip(" ")
    return f"{line[: len(line) - len(rest)]}#{rest}"


def _comment(field: Field, margin: str) -> str:
    return "".join(f"{margin}# {line}\n" for line in textwrap.wrap(about(field), WIDTH - len(margin)))


def _field(field: Field, margin: str) -> str:
    comment = _comment(field, margin)
    if isinstance(field.shape, Nested):
        inner = sample(field.shape.cls, len(margin) + 2)
        return f"{comment}{margin}{field.key}:\n{inner}" if inner else f"{comment}{margin}{field.key}: {{}}\n"
    value = placeholder(field) if field.required else unstructure(field.default, field.hint)
    return f"{comment}{margin}{field.key}: {json.dumps(value, ensure_ascii=False)}\n"


def about(field: Field) -> str:
    """Say in one sentence what a field is for, what it takes, and within which bounds."""
    parts = [field.option.help.rstrip(".")] if field.option.help else []
    if not isinstance(field.shape, Nested):
        parts.append(takes(field))
    if field.required:
        parts.append("Required")
    return ". ".join(filter(None, parts)) + "."


def takes(field: Field) -> str:
    """Say what values a field takes: ``an integer, at least 1``."""
    option = field.option
    if option.choices:
        kind = "one of " + ", ".join(map(str, option.choices))
        words = [f"a list, each {kind}" if isinstance(field.shape, Items) else kind]
    else:
        words = [say(field.shape)]
    for bound, name in (
        (option.ge, "at least"),
        (option.gt, "more than"),
        (option.le, "at most"),
        (option.lt, "less than"),
    ):
        if bound is not None:
            words.append(f"{name} {figure(bound, field.shape)}")
    if option.alias:
        words.append(f"also spelt {option.alias}")
    told = ", ".join(words)
    return told[:1].upper() + told[1:]


def placeholder(field: Field) -> Any:
    """Give an example, or else a value of the right kind, for a key that has no default."""
    if field.option.example is not None:
        return field.option.example
    if field.option.choices:
        first = field.option.choices[0]
        return [first] if isinstance(field.shape, Items) else first
    return _placeholder(field.shape, field)


def _placeholder(shape: Shape, field: Field) -> Any:
    if isinstance(shape, Choice):
        return shape.values[0]
    if isinstance(shape, Either):
        return _placeholder(next((one for one in shape.options if not isinstance(one, Null)), Null()), field)
    if isinstance(shape, Items):
        return [_placeholder(shape.item, field)]
    if isinstance(shape, (Entries, Nested)):
        return {}
    if isinstance(shape, Length) or isinstance(shape, Scalar) and shape.type in (int, float):
        least = field.option.ge if field.option.ge is not None else (field.option.gt or 0) + 1
        return int(least) if isinstance(shape, Scalar) and shape.type is int else least
    if isinstance(shape, Scalar) and shape.type is bool:
        return False
    return "CHANGE-ME"
