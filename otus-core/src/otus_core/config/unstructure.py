"""A configuration object back into plain data."""

from __future__ import annotations

from typing import Any

import attrs

from otus_core.config.fields import OPTION, Option

MASK = "********"


def unstructure(config: Any, *, mask_secrets: bool = False) -> Any:
    """Give plain dicts, lists and scalars that ``structure`` makes the same object of; secrets that are set become ``********`` on request."""
    if attrs.has(type(config)):
        return {
            attribute.name: _value(attribute, getattr(config, attribute.name), mask_secrets)
            for attribute in attrs.fields(type(config))
            if attribute.init
        }
    if isinstance(config, (list, tuple, frozenset)):
        return [unstructure(item, mask_secrets=mask_secrets) for item in config]
    if isinstance(config, dict):
        return {key: unstructure(value, mask_secrets=mask_secrets) for key, value in config.items()}
    return config


def _value(attribute: Any, value: Any, mask_secrets: bool) -> Any:
    option = attribute.metadata.get(OPTION, Option())
    if mask_secrets and option.secret and value not in (None, "", ()):
        return MASK
    return unstructure(value, mask_secrets=mask_secrets)
