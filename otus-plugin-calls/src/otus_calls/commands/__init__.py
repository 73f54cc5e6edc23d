"""The commands of this plugin: what ``otus`` shows of calls, registrations and their figures."""

from __future__ import annotations

import otus_core

GROUPS: dict[str, otus_core.CommandGroup] = {}
"""By name of the command; the plugin's hook adds them to ``otus``."""
