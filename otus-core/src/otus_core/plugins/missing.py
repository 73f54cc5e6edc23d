"""Says why a component is not there: what to install, why its plugin is not ready, or what name was meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otus_core.errors import closest
from otus_core.plugins.known import how_to_install, names_of, who_brings
from otus_core.plugins.records import ComponentRecord, PluginRecord


def why_missing(records: Sequence[PluginRecord], kind: str, name: str, offered: Iterable[str]) -> str:
    """Give one sentence; ``offered`` are the names of this kind that can be used."""
    known = who_brings(kind, name)
    for record in records:
        for component in record.components:
            if (component.kind, component.name) == (kind, name):
                return _not_ready(kind, name, record, component)
    for record in records:
        if record.state != "ready" and (record.distribution == known or (known is None and record.plugin == name)):
            return _not_ready(kind, name, record, record)
    if known is not None:
        return f"{_say(kind)} {name!r} is not installed: {how_to_install(known)}"
    names = list(offered)
    close = closest(name, {*names, *names_of(kind)})
    hint = f"did you mean {close!r}?" if close is not None else f"there are: {', '.join(names) or 'none'}"
    return f"there is no {_say(kind)} {name!r}; {hint}"


def _say(kind: str) -> str:
    return kind.replace("_", " ")


def _not_ready(kind: str, name: str, record: PluginRecord, what: PluginRecord | ComponentRecord) -> str:
    about = f"{_say(kind)} {name!r} cannot be used: plugin {record.plugin} ({record.distribution} {record.version})"
    if what.stage == "disabled":
        return f"{about} is disabled: {what.reason}"
    return f"{about} failed at {what.stage}: {what.reason}; {what.remedy}"
