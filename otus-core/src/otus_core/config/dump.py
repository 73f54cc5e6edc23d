"""Plain data as YAML that ``load_file`` reads back to the same."""

from __future__ import annotations

from typing import Any

import yaml

WIDTH = 120
"""Columns at which long texts are folded."""


class _Dumper(yaml.SafeDumper):
    """Writes what is there twice twice: the reader refuses aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        """Say that nothing is worth an alias."""
        return True


def dump_yaml(data: Any) -> str:
    """Write plain dicts, lists and scalars in their order, with a line feed at the end."""
    text: str = yaml.dump(_plain(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
