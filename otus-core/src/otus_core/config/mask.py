"""Plain data with its secrets covered, for answers, terminals and logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otus_core.config.shape import Either, Entries, Field, Items, Nested, Shape, fields_of

MASK = "********"
UNSET: tuple[Any, ...] = (None, "", (), [], {})


def mask(data: Any, cls: type, sections: Mapping[str, type] | None = None, at: str = "", which: str = "secret") -> Any:
    """Give a copy of what a configuration of class ``cls`` was read from; secrets that are set become ``********``.

    With ``which="secret_file"`` the names of files that hold secrets are covered instead.

    ``sections`` gives the classes of mappings that plugins define, by their dotted path below ``cls``. Keys that the
    class does not know are kept as they are: they were refused when the configuration was checked. Sections that have
    no class, because their plugin is not there, are covered whole.
    """
    if not isinstance(data, Mapping):
        return data
    known = {key: field for field in fields_of(cls) for key in field.keys}
    return {
        key: _value(value, known.get(key), sections or {}, f"{at}.{key}" if at else str(key), which)
        for key, value in data.items()
    }


def _value(value: Any, field: Field | None, sections: Mapping[str, type], at: str, which: str) -> Any:
    if field is None:  # a section whose plugin is not there: nobody can say what in it is secret
        return MASK if isinstance(value, Mapping) else value
    if getattr(field.option, which):
        return value if value in UNSET else MASK
    return _mask_shape(value, field.shape, sections, at, which)


def _mask_shape(value: Any, shape: Shape, sections: Mapping[str, type], at: str, which: str) -> Any:
    """Look for secrets below a value, as far as its shape or a section names classes."""
    if at in sections:
        return mask(value, sections[at], which=which)
    if isinstance(shape, Nested):
        return mask(value, shape.cls, sections, at, which)
    if isinstance(shape, Items) and isinstance(value, (list, tuple)):
        return [_mask_shape(item, shape.item, sections, at, which) for item in value]
    if isinstance(shape, Entries) and isinstance(value, Mapping):
        of_plugins = any(path.startswith(f"{at}.") for path in sections)
        return {
            key: MASK
            if of_plugins and f"{at}.{key}" not in sections
            else _mask_shape(item, shape.value, sections, f"{at}.{key}", which)
            for key, item in value.items()
        }
    if isinstance(shape, Either):
        for option in shape.options:
            value = _mask_shape(value, option, sections, at, which)
    return value
