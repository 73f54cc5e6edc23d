"""What can be known of a valid task only with libpcap, or only on the node that it is to run on.

In: a ``TaskConfig``. Out: problems, for which the task is refused, and warnings, which another node, or this one in an
hour, may not deserve, and settings that do nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from otus_core.capture.bpf import compile_bpf
from otus_core.errors import BpfInvalid, ConfigInvalid, ConfigProblem
from otus_core.task.options import ReporterOptions
from otus_core.task.spec import TaskConfig

FILTER, INTERFACE, FILES, ANY = "bpf_filter", "interface", "files", "any"
LINK_TYPES = (1, 101, 113, 276, 105, 127)
"""Ethernet, raw IP, Linux cooked 1 and 2, 802.11 with and without radiotap: an expression such as ``type mgt`` makes
sense for some of them only.
"""


def check_filter(config: TaskConfig, source: str = "") -> None:
    """Compile the capture filter of a task, if it has one.

    Raises ConfigInvalid. Looks up the names of hosts, so it may wait for the network.

    Without libpcap nothing can be said here; the capturer says so when it starts.
    """
    expression = getattr(config.capture.settings, FILTER, "")
    if not isinstance(expression, str) or not expression.strip():
        return
    refusals: list[BpfInvalid] = []
    for link_type in LINK_TYPES:
        try:
            compile_bpf(expression, link_type)
            return
        except BpfInvalid as error:
            if not error.expression:
                return
            refusals.append(error)
    raise ConfigInvalid([ConfigProblem(f"capture.{FILTER}", f"{refusals[0].reason}: {expression!r}")], source)


def node_warnings(config: TaskConfig) -> tuple[str, ...]:
    """Say what this machine lacks for a task, each with the key that asks for it."""
    return tuple(_warnings(config))


def _warnings(config: TaskConfig) -> Iterator[str]:
    usable = os.sched_getaffinity(0)
    if config.workers > len(usable):
        yield f"workers: is {config.workers}, and this node has {len(usable)} CPUs: workers will share them"
    missing = sorted(set(config.cpu_affinity) - usable)
    if missing:
        yield f"cpu_affinity: this node has no CPU {', '.join(map(str, missing))}, or may not use it"
    yield from _idle(config)
    interface = getattr(config.capture.settings, INTERFACE, "")
    if isinstance(interface, str) and interface not in ("", ANY, *(name for _, name in socket.if_nameindex())):
        yield f"capture.{INTERFACE}: there is no interface {interface!r} on this node now"
    files = getattr(config.capture.settings, FILES, ())
    for name in [files] if isinstance(files, str) else files:
        if name != "-" and not Path(name).exists():
            yield f"capture.{FILES}: there is no file {name!r} on this node now"


def _idle(config: TaskConfig) -> Iterator[str]:
    """Name the settings of reporters that do nothing."""
    options: Any = ReporterOptions
    usual = {field.name: field.default for field in attrs.fields(options)}
    for i, spec in enumerate(config.reporters):
        if spec.declaration.own_retries:
            for key in ("send_timeout", "max_retries"):
                if getattr(spec, key) != usual[key]:
                    yield f"reporters[{i}].{key}: has no effect: {spec.type} has its own time limits and retries"
