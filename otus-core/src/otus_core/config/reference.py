"""A Markdown table of a configuration class, for the reference pages."""

from __future__ import annotations

import json
from typing import Any

from otus_core.config.converter import unstructure
from otus_core.config.sample import takes
from otus_core.config.shape import Field, Nested, fields_of

HEAD = "| key | takes | default | meaning |\n|---|---|---|---|\n"


def reference(cls: type) -> str:
    """Give the table; keys of nested classes are written with dots."""
    rows = list(_rows(cls, ""))
    return HEAD + "".join(rows) if rows else "It has no options.\n"


def _rows(cls: type, prefix: str) -> list[str]:
    rows: list[str] = []
    for field in fields_of(cls):
        key = f"{prefix}{field.key}"
        if isinstance(field.shape, Nested):
            rows += _rows(field.shape.cls, f"{key}.")
        else:
            rows.append(_row(key, field))
    return rows


def _row(key: str, field: Field) -> str:
    default = "required" if field.required else f"`{_show(unstructure(field.default, field.hint))}`"
    meaning = field.option.help + (" Secret." if field.option.secret else "")
    cells = (f"`{key}`", takes(field), default, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
