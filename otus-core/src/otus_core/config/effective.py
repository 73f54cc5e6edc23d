"""The configuration that is in force: the file, then ``OTUS_*`` variables over it, then what a key inherits or expands.

In: a path and the environment. Out: an ``Effective``. Raises ConfigInvalid with everything that is wrong, each with its
path or variable.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from otus_core.config.converter import structure
from otus_core.config.daemon import CommandChannelConfig, DaemonConfig
from otus_core.config.exposed import pair_covered, warn_of_files, warn_of_holder
from otus_core.config.load import load_file, load_text
from otus_core.config.mask import mask
from otus_core.config.problems import unknown_key
from otus_core.config.sections import CHANNEL, REPORTERS, Sections, keys_of
from otus_core.config.shape import Either, Entries, Field, Items, Nested, Own, Scalar, Shape, fields_of
from otus_core.errors import ConfigInvalid, ConfigProblem
from otus_core.values import frozen

ROOT = "otus"
# All of 127.0.0.0/8 is this machine (RFC 1122 §3.2.1.3), and of IPv6 the one address ::1 (RFC 4291 §2.5.3).
LOOPBACK = ("127.", "[::1]", "localhost:")
PREFIX = "OTUS_"
HOSTNAME = "${node.hostname}"
SIOCGIFADDR = 0x8915  # linux/sockios.h
SIOCGIFFLAGS = 0x8913
IFF_UP, IFF_LOOPBACK = 0x1, 0x8

T = TypeVar("T")


@frozen(kw_only=True)
class Effective:
    """A configuration with the node's name and address settled, and what is worth a warning."""

    config: DaemonConfig
    hostname: str
    ip: str
    source: str
    warnings: tuple[str, ...] = ()


def load_effective(
    path: Path | None, environment: Mapping[str, str] = os.environ, sections: Sections | None = None
) -> Effective:
    """Read the daemon's configuration.

    ``sections`` are the parts that plugins define. Without them, before plugins are loaded, such parts are left out
    unseen.
    """
    if path is None:
        return effective_from({ROOT: {}}, "defaults", environment, sections)
    return effective_from(load_file(path), str(path), environment, sections, path)


def effective_from(
    data: Any,
    source: str,
    environment: Mapping[str, str] = os.environ,
    sections: Sections | None = None,
    path: Path | None = None,
) -> Effective:
    """Settle what a configuration file holds; ``path`` is the file, where there is one.

    Raises ConfigInvalid, whose problems name ``source``.
    """
    sections = sections or Sections(is_strict=False)
    cls = sections.config_class()
    data = _take_root(data, source)
    data, warnings = _leave_out_unclaimed(data, cls, sections)
    keys = [f"{ROOT}.{key}" for key, _ in pair_covered(mask(data, cls, sections.classes), data)]
    # Of the file's own content, before the variables come over it: what they hold is not in the file.
    warnings += warn_of_holder(path, keys) if path is not None else []
    problems = _override(data, environment, cls, sections)
    files = pair_covered(mask(data, cls, sections.classes, which="secret_file"), data, ROOT)
    warnings += warn_of_files(files)
    hostname = _hostname(data)
    # After the variables: one of them may give the host's name.
    data = _expand(data, hostname)
    try:
        config = structure(cls, data, ROOT, source)
    except ConfigInvalid as error:
        raise ConfigInvalid([*error.problems, *problems], source) from None
    problems += _reporter_problems(config.reporters, sections)
    if problems:
        raise ConfigInvalid(problems, source)
    config = _inherit(_with_channel(config, sections), sections)
    ip = environment.get("OTUS_NODE_IP") or config.node.ip or _first_address()
    _check_address(ip, source)
    return Effective(config=config, hostname=hostname, ip=ip, source=source, warnings=(*warnings, *_warnings(config)))


def _leave_out_unclaimed(data: dict[str, Any], cls: type, sections: Sections) -> tuple[dict[str, Any], list[str]]:
    """Leave out the sections of plugins that are not there; gives what is to be said of them."""
    channel = next(field.shape for field in fields_of(cls) if field.key == CHANNEL)
    assert isinstance(channel, Nested)
    kept, warnings = _leave_out(data, keys_of(cls), ROOT, sections)
    for key, known in ((CHANNEL, keys_of(channel.cls)), (REPORTERS, sections.reporters)):
        if isinstance(kept.get(key), dict):
            kept[key], more = _leave_out(kept[key], known, f"{ROOT}.{key}", sections)
            warnings += more
    return kept, warnings


def _leave_out(
    data: dict[str, Any], known: tuple[str, ...], path: str, sections: Sections
) -> tuple[dict[str, Any], list[str]]:
    left_out = sections.unclaimed(data, known)
    warnings = [f"{path}.{key}: {said}" for key, said in left_out.items() if said]
    return {key: value for key, value in data.items() if key not in left_out}, warnings


def _reporter_problems(reporters: Mapping[str, Mapping[str, Any]], sections: Sections) -> list[ConfigProblem]:
    """Say which reporters, and which of their options, there are not.

    Values are checked with the task that inherits them.
    """
    problems = []
    for name, options in reporters.items():
        path = f"{ROOT}.{REPORTERS}.{name}"
        if name not in sections.reporters:
            problems.append(ConfigProblem(path, unknown_key(name, sections.reporters)))
            continue
        known = keys_of(sections.classes[f"{REPORTERS}.{name}"])
        problems += [ConfigProblem(f"{path}.{key}", unknown_key(key, known)) for key in options if key not in known]
    return problems


def _with_channel(config: DaemonConfig, sections: Sections) -> DaemonConfig:
    """Settle which command channel is meant where none is named."""
    channel = config.command_channel
    if channel.type:
        return config
    given = [name for name in sections.channels if getattr(channel, name)]
    name = next(iter(given if len(given) == 1 else sections.channels if len(sections.channels) == 1 else []), "")
    return _evolve(config, command_channel=_evolve(channel, type=name))


def _take_root(data: Any, source: str) -> dict[str, Any]:
    """Give what is under ``otus:``. Nothing at all is no configuration: it may be a file that is just being written."""
    if data is None:
        raise ConfigInvalid([ConfigProblem("", f"is empty; all defaults are `{ROOT}: {{}}`")], source)
    if not is_configuration(data) or set(data) != {ROOT}:
        raise ConfigInvalid([ConfigProblem("", f"a configuration has one top-level key, {ROOT}:")], source)
    inner = data[ROOT]
    if not isinstance(inner, dict):
        raise ConfigInvalid([ConfigProblem(ROOT, "expected a mapping")], source)
    return inner


def channel_settings(config: DaemonConfig, cls: type[T], source: str = "") -> T:
    """Give the command channel's own settings, of its plugin's class. Raises ConfigInvalid."""
    channel = config.command_channel
    own_options = {} if channel.type in keys_of(CommandChannelConfig) else getattr(channel, channel.type, {})
    key, options = (channel.type, own_options) if own_options or not channel.options else ("options", channel.options)
    bounds = {"command_ttl": channel.command_ttl, "command_clock_skew": channel.command_clock_skew}
    own: type = cls
    wanted = {field.key for field in fields_of(own)}
    given = {**{name: value for name, value in bounds.items() if name in wanted}, **options}
    return structure(cls, given, f"{ROOT}.command_channel.{key}", source)


def is_configuration(data: Any) -> bool:
    """Whether this is meant to be a daemon's configuration rather than a task."""
    return isinstance(data, dict) and ROOT in data


def variables(cls: type = DaemonConfig, sections: Sections | None = None) -> dict[str, tuple[tuple[str, ...], Field]]:
    """Give every variable that overrides a key: its path below ``otus`` and its field."""
    found = _leaves(cls, (), sections or Sections())
    return {PREFIX + "_".join(path).upper().replace("-", "_"): (path, field) for path, field in found}


def _leaves(cls: type, path: tuple[str, ...], sections: Sections) -> Iterator[tuple[tuple[str, ...], Field]]:
    for field in fields_of(cls):
        here = (*path, field.key)
        nested = _class_of(field.shape)
        section = sections.classes.get(".".join(here))
        if section is not None:
            yield from _leaves(section, here, Sections())
        elif nested is not None:
            yield from _leaves(nested, here, sections)
        else:
            yield here, field
            if here == (REPORTERS,):
                for name in sections.reporters:
                    yield from _leaves(sections.classes[f"{REPORTERS}.{name}"], (*here, name), Sections())


def _class_of(shape: Shape) -> type | None:
    if isinstance(shape, Nested):
        return shape.cls
    if isinstance(shape, Either):
        return next((option.cls for option in shape.options if isinstance(option, Nested)), None)
    return None


def _override(
    data: dict[str, Any], environment: Mapping[str, str], cls: type, sections: Sections
) -> list[ConfigProblem]:
    """Put the variables' values over the file's; gives what is wrong with them."""
    problems: list[ConfigProblem] = []
    for name, (path, field) in variables(cls, sections).items():
        if name not in environment:
            continue
        try:
            value = read_variable(name, environment[name], field)
        except ConfigInvalid as error:
            problems += error.problems
            continue
        at = data
        for key in path[:-1]:
            inner = at.get(key)
            at[key] = inner = dict(inner) if isinstance(inner, dict) else {}
            at = inner
        at[path[-1]] = value
    return problems


def read_variable(name: str, text: str, field: Field) -> Any:
    """Read what a variable gives a key. Raises ConfigInvalid, which names the variable."""
    try:
        return _value(text, field.shape)
    except ConfigInvalid as error:
        raise ConfigInvalid([ConfigProblem(name, str(error.problems[0]))]) from None


def _value(text: str, shape: Shape) -> Any:
    """Read a variable: text as it is, lists by commas, mappings as ``key=value`` by commas, anything as
    YAML or JSON.
    """
    if isinstance(shape, Scalar) and shape.type is str:
        return text
    if isinstance(shape, Own) and shape.type.schema.get("type") == "string":
        return text
    if isinstance(shape, Items) and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(shape, Entries) and not text.lstrip().startswith("{"):
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        return {key.strip(): value.strip() for key, _, value in pairs}
    return load_text(text)


def _hostname(data: Mapping[str, Any]) -> str:
    node = data.get("node")
    named = node.get("hostname") if isinstance(node, dict) else None
    return named if isinstance(named, str) and named else socket.gethostname()


def _expand(value: Any, hostname: str) -> Any:
    """Replace ``${node.hostname}`` in every text."""
    if isinstance(value, str):
        return value.replace(HOSTNAME, hostname)
    if isinstance(value, dict):
        return {key: _expand(item, hostname) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, hostname) for item in value]
    return value


def _inherit(config: DaemonConfig, sections: Sections) -> DaemonConfig:
    """Give each section what it does not say itself and a shared block does."""
    reporters = dict(config.reporters)
    channel: Any = config.command_channel
    for shared in sections.shared:
        common = _read_given(getattr(config, shared.name))
        for heir in shared.heirs:
            where, _, name = heir.partition(".")
            if where == REPORTERS and (common or name in reporters):
                reporters[name] = {**common, **reporters.get(name, {})}
            elif where == CHANNEL and name in sections.channels:
                channel = _evolve(channel, **{name: {**common, **getattr(channel, name)}})
    return _evolve(config, command_channel=channel, reporters=reporters)


def _evolve(config: T, **changes: Any) -> T:
    made: T = attrs.evolve(config, **changes)  # type: ignore[misc]
    return made


def _read_given(config: object) -> dict[str, Any]:
    """Give what of a shared block is worth inheriting: what is not at its default."""
    found: dict[str, Any] = {}
    cls: type = type(config)
    for field in fields_of(cls):
        value = getattr(config, field.key)
        if value == field.default:
            continue
        found[field.key] = _read_given(value) if attrs.has(type(value)) else value
    return found


def _first_address() -> str:
    """Give the first IPv4 address of an interface that is up, not loopback, and not link-local; empty when there is
    none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            # ioctl writes struct ifreq (40 bytes, linux/if.h) into what it is given; a name has 15 bytes at most
            # (IFNAMSIZ).
            request = struct.pack("256s", name.encode()[:15])
            try:
                flags = struct.unpack_from("=H", fcntl.ioctl(sock, SIOCGIFFLAGS, request), 16)[0]
                packed = fcntl.ioctl(sock, SIOCGIFADDR, request)[20:24]
            except OSError:
                continue
            address = ipaddress.IPv4Address(packed)
            if flags & IFF_UP and not flags & IFF_LOOPBACK and not address.is_link_local and not address.is_loopback:
                return str(address)
    return ""


def _check_address(ip: str, source: str) -> None:
    if not ip:
        problem = "no interface has an address to use; set it here or in OTUS_NODE_IP"
        raise ConfigInvalid([ConfigProblem(f"{ROOT}.node.ip", problem)], source)
    try:
        ipaddress.ip_address(ip)
    except ValueError:
        raise ConfigInvalid([ConfigProblem(f"{ROOT}.node.ip", f"{ip!r} is not an IP address")], source) from None


def _warnings(config: DaemonConfig) -> tuple[str, ...]:
    found = []
    if config.backpressure.pipeline_channel is not None:
        found.append(f"{ROOT}.backpressure.pipeline_channel is not used: packets pass no channel; remove it")
    metrics = config.metrics
    if metrics.enabled and metrics.basic_auth and not metrics.tls and not metrics.listen.startswith(LOOPBACK):
        found.append(f"{ROOT}.metrics.basic_auth: the password travels in clear, because metrics.tls is not set")
    return tuple(found)


def socket_path(path: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Give the control socket that a command should call, without asking for a node address. Raises ConfigInvalid."""
    default = DaemonConfig().control.socket
    data = _take_root(load_file(path), str(path)) if path is not None else {}
    control = data.get("control")
    named = control.get("socket") if isinstance(control, dict) else None
    return Path(environment.get("OTUS_CONTROL_SOCKET") or (named if isinstance(named, str) else "") or default)
