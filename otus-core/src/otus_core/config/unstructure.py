"""A configuration object back into plain data."""

from __future__ import annotations

from typing import Any

import attrs

from otus_core.config.shape import Items, Shape, fields_of, is_duration, spelt


def unstructure(config: Any, shape: Shape | None = None) -> Any:
    """Give plain dicts, lists and scalars that ``structure`` makes the same object of.

    Secrets are among them: ``mask`` covers those.

    ``shape`` is that of the value where it is known: durations are then written with their unit, as in ``24h``.
    """
    cls: type = type(config)
    if attrs.has(cls):
        return {field.key: unstructure(getattr(config, field.key), field.shape) for field in fields_of(cls)}
    if isinstance(config, (list, tuple, frozenset)):
        inner = shape.item if isinstance(shape, Items) else None
        return [unstructure(item, inner) for item in config]
    if isinstance(config, dict):
        return {key: unstructure(value) for key, value in config.items()}
    if is_duration(shape) and isinstance(config, (int, float)):
        written = spelt(config)
        return config if written is None else written
    return config
