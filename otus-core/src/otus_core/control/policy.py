"""What a caller from afar may do.

It holds for every command channel, before the command is looked into; the control socket's callers are local and not
asked.

A task from afar chooses among what this node's own configuration offers: it names no destination, login, encryption or
file. Else whoever can write to a topic could have this node's password sent to a place of his, or a file of this node
read (the file's content goes out as a "password").
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from otus_core.config.daemon import AllowConfig
from otus_core.control.handler import task_of
from otus_core.control.protocol import INVALID_REQUEST, RpcError
from otus_core.errors import OtusError
from otus_core.model.text import printable
from otus_core.plugins.registry import Registry
from otus_core.task.config import unwrap
from otus_core.task.inherit import LISTS

PATH_KEYS = frozenset({"path", "paths", "file", "files", "folder", "directory"})
PATH_ENDINGS = ("_file", "_files", "_path", "_paths", "_folder", "_dir")
DEPTH_MAX = 16  # a task nests some five deep; the functions that look through it call themselves once a level


def check_remote(allow: AllowConfig, registry: Registry, command: str, params: Mapping[str, Any]) -> None:
    """Raise RpcError for a command that may not come from afar, ConfigInvalid or RpcError for a task that is none."""
    # None and an empty list differ: what is not set allows all, and an empty list nothing.
    if allow.commands is not None and command not in allow.commands:
        raise _refusal(
            f"{printable(command, 64)} is not allowed from afar on this node (otus.command_channel.allow.commands)"
        )
    # A spool promises to keep messages; whoever can write to a topic is not to break that.
    if command == "task_delete" and params.get("discard"):
        raise _refusal("messages that wait on disk are discarded by a local caller only")
    if command in ("task_create", "task_apply"):
        _check_task(allow, registry, unwrap(task_of(params)))


def _check_task(allow: AllowConfig, registry: Registry, task: Mapping[str, Any]) -> None:
    capture = task.get("capture")
    capture = capture if isinstance(capture, Mapping) else {}
    _check_named("capturer", allow.capturers, [_type(capture)])
    if allow.interfaces is not None:
        _check_named("interface", allow.interfaces, [_text(capture, "interface")])
    for path in _paths(capture):
        if not _is_within(path, allow.capture_paths):
            raise _refusal(f"capture: {printable(path, 200)} is not below otus.command_channel.allow.capture_paths")
    for key in LISTS:
        entries = task.get(key)
        entries = entries if isinstance(entries, (list, tuple)) else ()
        if key == "reporters":
            _check_named("reporter", allow.reporters, [_type(entry) for entry in entries])
        for n, entry in enumerate(entries):
            if isinstance(entry, Mapping):
                _check_local(registry, key.removesuffix("s"), entry, f"{key}[{n}]")


def _check_local(registry: Registry, kind: str, entry: Mapping[str, Any], where: str) -> None:
    try:
        local = registry.component(kind, _type(entry)).declaration.local_options
    except OtusError:
        return  # there is no such component, which the task's own check tells
    for path, key in _keys(entry, where):
        if key in local or _names_a_file(key):
            raise _refusal(f"{printable(path, 200)} comes from this node's own configuration only, not from afar")


def _keys(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Give path and name of every key below a value."""
    if depth > DEPTH_MAX:
        raise _refusal("the task is nested too deep")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"{path}.{key}", str(key)
            yield from _keys(inner, f"{path}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _keys(inner, path, depth + 1)


def _paths(value: Any, key: str = "", depth: int = 0) -> Iterator[str]:
    """Give every text of a capture that is, or looks like, the name of a file."""
    if depth > DEPTH_MAX:
        raise _refusal("the task is nested too deep")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _paths(inner, str(name), depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _paths(inner, key, depth + 1)
    # By its value too: a third party's capturer may call an option that holds a path whatever it likes.
    elif isinstance(value, str) and (_names_a_file(key) or value.startswith(("/", "./", "../", "~"))):
        yield value


def _names_a_file(key: str) -> bool:
    return key in PATH_KEYS or key.endswith(PATH_ENDINGS)


def _is_within(path: str, folders: Sequence[str]) -> bool:
    """Whether a path, without its links, is one of the allowed or lies below one."""
    try:
        # A link below an allowed folder may lead anywhere.
        real = os.path.realpath(path)
    except (OSError, ValueError):
        return False
    return any(real == folder or real.startswith(folder.rstrip("/") + "/") for folder in map(os.path.realpath, folders))


def _check_named(what: str, allowed: Sequence[str] | None, named: Sequence[str]) -> None:
    for name in named:
        if allowed is not None and name not in allowed:
            raise _refusal(f"a task from afar may use the {what} {', '.join(allowed) or 'none'} on this node")


def _type(entry: Any) -> str:
    return entry if isinstance(entry, str) else _text(entry, "type") or _text(entry, "name")


def _text(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else ""


def _refusal(text: str) -> RpcError:
    return RpcError(INVALID_REQUEST, f"not allowed: {text}")
