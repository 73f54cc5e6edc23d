"""The commands of this plugin: what ``otus`` shows of calls, registrations and their figures."""

from __future__ import annotations

import otus_core

GROUPS: dict[str, otus_core.CommandGroup] = {
    name: otus_core.CommandGroup(app=f"otus_calls.commands.{name}:{name}", summary=summary)
    for name, summary in {
        "calls": "Show the calls of captures or of an interface",
        "ladder": "Draw how calls went, arrow by arrow",
        "registrations": "Show who registers where, and who fails to",
        "kpi": "Show figures of calls, over time or by what they have in common",
        "report": "Make one page for a browser of the calls of captures",
        "extract": "Copy the frames of chosen calls to a capture file",
    }.items()
}
"""By name of the command; the plugin's hook adds them to ``otus``."""
