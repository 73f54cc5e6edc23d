"""What a valid task comes to: the components that it has, and the settings of each."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from otus_core.decode.options import DecoderConfig
from otus_core.plugins.records import PluginRecord
from otus_core.stream.options import StreamsConfig
from otus_core.task.options import OnFailure, SpoolConfig
from otus_core.values import frozen


@frozen(kw_only=True, eq=False)
class ComponentSpec:
    """One component of a task: which it is, and the settings that its factory gets."""

    type: str
    id: str
    on_failure: OnFailure = "fail"
    declaration: Any
    settings: Any
    record: PluginRecord


@frozen(kw_only=True, eq=False)
class ProcessorSpec(ComponentSpec):
    """A processor, and what its exceptions do to packets."""

    on_error: Literal["drop", "pass"] = "drop"


@frozen(kw_only=True, eq=False)
class ReporterSpec(ComponentSpec):
    """A reporter and its send buffer; ``batch_size`` and ``batch_timeout`` are ``None`` where the
    declaration's hold.
    """

    batch_size: int | None
    batch_timeout: float | None
    fallback: str | None
    send_timeout: float
    max_retries: int
    capacity: int
    max_bytes: int
    spool: SpoolConfig | None


@frozen(kw_only=True, eq=False)
class TaskConfig:
    """A valid task.

    ``source`` is the plain data that it was made of, defaults included: loading it again gives the same. ``one_worker``
    says why ``workers`` is 1 where ``workers_wanted`` is more; else it is empty.
    """

    id: str
    workers: int
    workers_wanted: int = 1
    one_worker: str = ""
    capture: ComponentSpec
    decoder: DecoderConfig
    streams: StreamsConfig
    parsers: tuple[ComponentSpec, ...]
    processors: tuple[ProcessorSpec, ...]
    reporters: tuple[ReporterSpec, ...]
    unmatched_policy: Literal["drop", "forward"]
    max_flows: int = 262_144
    cpu_affinity: tuple[int, ...]
    worker_max_rss: int
    source: dict[str, Any] = attrs.field(eq=False, repr=False)
