"""The parts of the daemon's configuration that plugins define.

    otus.NAME                    a block that several components share, declared by a plugin (``SharedConfig``)
    otus.reporters.NAME          defaults for the reporters of that name in all tasks
    otus.command_channel.NAME    the options of the command channel of that name

In: what the installed plugins declare. Out: the class that a whole configuration has with them, and who inherits what.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import attrs

from otus_core.config.daemon import CommandChannelConfig, DaemonConfig
from otus_core.config.fields import configuration, option
from otus_core.config.shape import fields_of
from otus_core.errors import closest
from otus_core.values import frozen

CHANNEL, REPORTERS = "command_channel", "reporters"


@frozen(kw_only=True, eq=False)
class Shared:
    """A block below ``otus``: its key, its class, its help, the paths of the sections that inherit from it, and what
    they inherit only with its destination.
    """

    name: str
    cls: type
    summary: str = ""
    heirs: tuple[str, ...] = ()
    bound: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)


@frozen(kw_only=True, eq=False)
class Sections:
    """What plugins add.

    ``classes`` has the class of each section by its path below ``otus``, ``reporters.NAME`` for one.

    ``is_complete`` is false where a plugin is left out or failed: then a block that nobody takes may be that plugin's.
    ``known_elsewhere`` are names of blocks of plugins that are not installed. ``is_strict`` is false before plugins are
    loaded: then nothing can be said of what is not the core's.
    """

    classes: Mapping[str, type] = attrs.field(factory=dict)
    shared: tuple[Shared, ...] = ()
    is_complete: bool = True
    known_elsewhere: frozenset[str] = frozenset()
    is_strict: bool = True

    @property
    def channels(self) -> list[str]:
        """Give the names of the command channels that have a section of their own."""
        names = (path.removeprefix(f"{CHANNEL}.") for path in self.classes if path.startswith(f"{CHANNEL}."))
        return [name for name in names if name.isidentifier() and name not in keys_of(CommandChannelConfig)]

    @property
    def reporters(self) -> tuple[str, ...]:
        """Give the names of the reporters that may have defaults."""
        return tuple(path.removeprefix(f"{REPORTERS}.") for path in self.classes if path.startswith(f"{REPORTERS}."))

    def config_class(self) -> type[DaemonConfig]:
        """Make the class of a configuration with these sections."""
        blocks = tuple((one.name, one.cls, one.summary or f"What {_and(one.heirs)} inherit.") for one in self.shared)
        channels = tuple((name, self._channel_help(name)) for name in self.channels)
        made: type[DaemonConfig] = _config_class(blocks, channels)
        return made

    def heirs_of(self, path: str) -> list[Shared]:
        """Give the blocks from which a section inherits."""
        return [one for one in self.shared if path in one.heirs]

    def bound_of(self, path: str) -> dict[str, tuple[str, ...]]:
        """Give, for a section, the keys that name a destination, each with what is meant for that alone."""
        found: dict[str, tuple[str, ...]] = {}
        for one in self.heirs_of(path):
            for key, bound in one.bound.items():
                found[key] = (*found.get(key, ()), *bound)
        return found

    def unclaimed(self, data: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, str]:
        """Give the keys that must be left out because their plugin is not there, each with what is to be said of it;
        empty where that is nothing.
        """
        found = {}
        for key, value in data.items():
            if key in known or not isinstance(value, Mapping):
                continue
            if not self.is_strict:
                found[key] = ""
            elif key in self.known_elsewhere or not (self.is_complete or closest(str(key), known)):
                found[key] = "no plugin that is ready takes this section"
        return found

    def _channel_help(self, name: str) -> str:
        inherited = [
            f"{_and(tuple(field.key for field in fields_of(one.cls)))} are inherited from otus.{one.name}"
            for one in self.heirs_of(f"{CHANNEL}.{name}")
        ]
        return "; ".join([f"The options of the channel {name}", *inherited]) + "."


@lru_cache(maxsize=64)
def _config_class(blocks: tuple[tuple[str, type, str], ...], channels: tuple[tuple[str, str], ...]) -> Any:
    """Make the class, the same for the same sections: a reload compares two configurations key by key."""
    fields = {name: (cls, option(factory=cls, help=summary)) for name, cls, summary in blocks}
    if channels:
        entries = {name: (dict[str, Any], option(factory=dict, help=about)) for name, about in channels}
        channel = _extend(CommandChannelConfig, entries)
        fields[CHANNEL] = (channel, option(factory=channel, help="Commands from afar."))
    return _extend(DaemonConfig, fields) if fields else DaemonConfig


def check_shared(name: str, cls: type, taken: tuple[str, ...]) -> None:
    """See to it that a block can stand beside the others.

    Raises ValueError, and UnknownShape for a class that cannot be configured.
    """
    if name in keys_of(DaemonConfig) or name in taken:
        raise ValueError(f"otus.{name} is taken: choose another name")
    required = [field.key for field in fields_of(cls) if field.required]
    if required:
        raise ValueError(f"otus.{name}.{required[0]} has no default: give it one")


def keys_of(cls: type) -> tuple[str, ...]:
    """Give every key of a configuration class."""
    return tuple(key for field in fields_of(cls) for key in field.keys)


def _and(words: tuple[str, ...]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _extend(base: type, fields: Mapping[str, tuple[Any, Any]]) -> Any:
    """Make a configuration class with further fields; those of the same name take the place of the base's."""
    body = {name: made for name, (_, made) in fields.items()}
    annotations = {name: hint for name, (hint, _) in fields.items()}
    return configuration(
        type(
            base.__name__,
            (base,),
            {**body, "__annotations__": annotations, "__doc__": base.__doc__, "__module__": base.__module__},
        )
    )
