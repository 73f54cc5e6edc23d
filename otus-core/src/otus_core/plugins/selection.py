"""Which plugins an operator wants loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from otus_core.plugins.known import FIRST_PARTY
from otus_core.values import frozen

DISABLED_ENVIRONMENT = "OTUS_DISABLED_PLUGINS"


@frozen(kw_only=True, eq=False)
class Selection:
    """``disabled`` and ``enabled`` (an allow-list, ``None`` for all) name entry points or distributions.

    ``prefer`` settles who gets a name that two claim: ``{"parser:sip": "otus-plugin-sip"}``. ``safe`` loads first-party
    plugins only. ``deadly`` says of plugins, named as ``PLUGIN DISTRIBUTION``, what importing them did to a process of
    their own: they are not imported in another.
    """

    disabled: Sequence[str] = ()
    enabled: Sequence[str] | None = None
    prefer: Mapping[str, str] = attrs.field(factory=dict)
    safe: bool = False
    deadly: Mapping[str, str] = attrs.field(factory=dict)

    def plain(self) -> dict[str, Any]:
        """Give the selection as plain values, for another process; ``Selection(**plain)`` is the same again."""
        enabled = None if self.enabled is None else list(self.enabled)
        return {
            "disabled": list(self.disabled),
            "enabled": enabled,
            "prefer": dict(self.prefer),
            "safe": self.safe,
            "deadly": dict(self.deadly),
        }

    def why_not(self, plugin: str, distribution: str) -> str:
        """Say why this plugin is not to be loaded; empty when it is."""
        if _is_among(self.disabled, plugin, distribution):
            return "disabled by configuration, --no-plugin or " + DISABLED_ENVIRONMENT
        if self.enabled is not None and not _is_among(self.enabled, plugin, distribution):
            return "not in plugins.enabled"
        if self.safe and normalize(distribution) not in FIRST_PARTY:
            return "not a first-party plugin, and --safe is given"
        return ""


def selection_from(
    base: Selection | None = None,
    *,
    no_plugin: Iterable[str] = (),
    safe: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> Selection:
    """Add to the configured selection what the command line and ``OTUS_DISABLED_PLUGINS`` (a comma list) say."""
    base = Selection() if base is None else base
    disabled = [*base.disabled, *no_plugin, *read_disabled(environment)]
    return attrs.evolve(base, disabled=tuple(dict.fromkeys(disabled)), safe=base.safe or safe)


def read_disabled(environment: Mapping[str, str]) -> list[str]:
    """Give the names that ``OTUS_DISABLED_PLUGINS`` lists."""
    return [name for part in environment.get(DISABLED_ENVIRONMENT, "").split(",") if (name := part.strip())]


def _is_among(names: Iterable[str], plugin: str, distribution: str) -> bool:
    return any(name == plugin or normalize(name) == normalize(distribution) for name in names)


def normalize(distribution: str) -> str:
    """Give a distribution's name as the Python packaging rules compare it."""
    # PEP 503: case does not count, and a run of "-", "_" and "." is one "-".
    return "-".join(filter(None, distribution.lower().replace("_", "-").replace(".", "-").split("-")))
