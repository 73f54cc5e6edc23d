"""A configuration object back into plain data."""

from __future__ import annotations

from typing import Any

import attrs


def unstructure(config: Any) -> Any:
    """Give plain dicts, lists and scalars that ``structure`` makes the same object of. Secrets are among them: ``mask`` covers those."""
    if attrs.has(type(config)):
        attributes = [attribute for attribute in attrs.fields(type(config)) if attribute.init]
        return {attribute.name: unstructure(getattr(config, attribute.name)) for attribute in attributes}
    if isinstance(config, (list, tuple, frozenset)):
        return [unstructure(item) for item in config]
    if isinstance(config, dict):
        return {key: unstructure(value) for key, value in config.items()}
    return config
