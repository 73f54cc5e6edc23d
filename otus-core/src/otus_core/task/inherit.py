"""What tasks inherit from the daemon's configuration: it is put below what a task says each time it starts, and is
never stored with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from otus_core.values import frozen

if TYPE_CHECKING:
    from otus_core.config.daemon import DaemonConfig
    from otus_core.config.sections import Sections

LISTS = ("parsers", "processors", "reporters")
NOTHING = object()


@frozen(kw_only=True, eq=False)
class TaskDefaults:
    """What the daemon's own configuration gives to tasks that do not say otherwise.

    ``decoder`` and ``reporter`` (``capacity``, ``send_timeout`` …) hold keys of those; ``components`` holds keys of one
    component's ``config``, by ``kind:name``, such as ``reporter:kafka``. ``bound`` has, by the same names, what is
    inherited only together with a destination (``SharedConfig.bound``).
    """

    decoder: Mapping[str, Any] = attrs.field(factory=dict)
    reporter: Mapping[str, Any] = attrs.field(factory=dict)
    components: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    bound: Mapping[str, Mapping[str, tuple[str, ...]]] = attrs.field(factory=dict)


def task_defaults(config: DaemonConfig, sections: Sections) -> TaskDefaults:
    """Give what tasks inherit from the daemon's configuration; ``sections`` are the plugins' parts of it."""
    # Here, because every worker and `otus run` import this module, and few of them have a daemon's configuration.
    from otus_core.config.sections import REPORTERS

    decoder = config.core.decoder
    tunnels = [name for name in ("vxlan", "gre", "geneve", "ipip", "gtpu", "hep") if getattr(decoder.tunnel, name)]
    buffer, sending = config.backpressure.send_buffer, config.backpressure.reporter
    return TaskDefaults(
        decoder={
            "tunnels": tunnels,
            "ip_reassembly": {
                "timeout": decoder.ip_reassembly.timeout,
                "max_fragments": decoder.ip_reassembly.max_fragments,
            },
        },
        reporter={
            "capacity": buffer.capacity,
            "max_bytes": buffer.max_bytes,
            "send_timeout": sending.send_timeout,
            "max_retries": sending.max_retries,
        },
        components={f"reporter:{name}": options for name, options in config.reporters.items()},
        bound={f"reporter:{name}": sections.bound_of(f"{REPORTERS}.{name}") for name in config.reporters},
    )


def with_defaults(data: dict[str, Any], defaults: TaskDefaults) -> dict[str, Any]:
    """Put the defaults below what the task says, and give plain data of our own."""
    made = {key: _copy(value) for key, value in data.items()}
    decoder = made.get("decoder", {})
    if defaults.decoder and isinstance(decoder, dict):
        if decoder.get("ip_reassembly") is True:  # on, with whatever limits the daemon has
            decoder = {key: value for key, value in decoder.items() if key != "ip_reassembly"}
        # The task's own word wins, key by key: a task that sets one limit of reassembly keeps the daemon's others.
        made["decoder"] = _below(defaults.decoder, decoder)
    for key in LISTS:
        if isinstance(made.get(key), list):
            made[key] = [_entry_with_defaults(key.removesuffix("s"), entry, defaults) for entry in made[key]]
    return made


def _entry_with_defaults(kind: str, entry: Any, defaults: TaskDefaults) -> Any:
    name = entry.get("type", entry.get("name")) if isinstance(entry, dict) else entry
    config = defaults.components.get(f"{kind}:{name}", {})
    around = defaults.reporter if kind == "reporter" else {}
    if not (config or around) or not isinstance(entry, (str, dict)):
        return entry
    made = _below(around, {"type": entry} if isinstance(entry, str) else entry)
    given = made.get("config", {})
    if config and isinstance(given, dict):
        made["config"] = _below(_without_bound(config, given, defaults.bound.get(f"{kind}:{name}", {})), given)
    return made


def _without_bound(
    inherited: Mapping[str, Any], given: Mapping[str, Any], bound: Mapping[str, tuple[str, ...]]
) -> Mapping[str, Any]:
    """Leave out of what is inherited what belongs to another destination than the one that is given."""
    for destination, keys in bound.items():
        # Else a task that names a broker of its own would send it the login of the node's broker.
        if destination in given and given[destination] != inherited.get(destination):
            inherited = {key: value for key, value in inherited.items() if key not in keys}
    return inherited


def _below(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings; what is given wins."""
    made = {key: _copy(value) for key, value in defaults.items()}
    for key, value in given.items():
        below = made.get(key)
        made[key] = _below(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return made


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, (list, tuple)) else value


def without_defaults(data: Mapping[str, Any], defaults: TaskDefaults) -> dict[str, Any]:
    """Undo ``with_defaults``: take out what is as it would be inherited anyway.

    Version 1 of task files had the defaults in it.
    """
    made = {key: _copy(value) for key, value in data.items()}
    decoder = _beyond(made.pop("decoder", NOTHING), defaults.decoder)
    if decoder is not NOTHING:
        made["decoder"] = decoder
    for key in LISTS:
        if isinstance(made.get(key), list):
            made[key] = [_entry_without(key.removesuffix("s"), entry, defaults) for entry in made[key]]
    return made


def _entry_without(kind: str, entry: Any, defaults: TaskDefaults) -> Any:
    if not isinstance(entry, dict):
        return entry
    config = defaults.components.get(f"{kind}:{entry.get('type', entry.get('name'))}", {})
    inherited = {**(defaults.reporter if kind == "reporter" else {}), "config": config}
    rest = _beyond(entry, inherited)
    return entry if rest is NOTHING else rest


def _beyond(given: Any, inherited: Any) -> Any:
    """Give what differs from the inherited values, ``NOTHING`` where nothing does."""
    if not isinstance(given, dict) or not isinstance(inherited, Mapping):
        return NOTHING if given == inherited else given
    rest = {key: _beyond(value, inherited.get(key, NOTHING)) for key, value in given.items()}
    rest = {key: value for key, value in rest.items() if value is not NOTHING}
    return rest or NOTHING


def file_stamps(data: Any) -> tuple[tuple[str, int, int], ...]:
    """Give path, inode and time of change of each file that a component is told of by a key such as ``password_file``:
    a new password shows in them.
    """
    return tuple(sorted({_stamp(path) for path in _files(data)}))


def _files(data: Any) -> Iterator[str]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            if isinstance(value, str) and value and str(key).endswith("_file"):
                yield value
            else:
                yield from _files(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _files(value)


def _stamp(path: str) -> tuple[str, int, int]:
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return (path, 0, 0)
    # The inode too: Kubernetes and editors put a new file in the place of the old one, whose time may be the same.
    return (path, about.st_ino, about.st_mtime_ns)
