"""The keys of a task file that are the same whatever plugins are installed: one definition for validation, schema and
reference.
"""

from __future__ import annotations

from typing import Any, Literal

from otus_core.config.fields import Duration, configuration, option
from otus_core.decode.options import DecoderConfig
from otus_core.stream.options import StreamsConfig

ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Task and component ids: they become file names, label values and counter names."""
WORKERS_MAX = 256
"""As many members as a fanout group has unless it asks for more (fanout_add in the kernel's net/packet/af_packet.c)."""

OnFailure = Literal["fail", "skip", "retry"]
ON_FAILURE = "What a failed start (constructing, wiring, starting) means: fail the task, go on without (skip), or retry"
COMPONENT_ID = "Name of this component in counters and logs; its type unless given"


@configuration
class TaskOptions:
    """A task, its components not yet looked into."""

    id: str = option(help="Name of the task", pattern=ID)
    workers: int = option(
        default=1,
        ge=1,
        le=WORKERS_MAX,
        help="Number of worker processes; more than one needs a source that can be shared. Where parsers tell each "
        "other of flows, a file is read by one worker",
    )
    capture: dict[str, Any] = option(help="Where frames come from: `type`, and the capturer's options beside it")
    decoder: DecoderConfig = option(factory=DecoderConfig, help="How frames are decoded")
    streams: StreamsConfig = option(factory=StreamsConfig, help="How TCP streams are put together")
    parsers: tuple[str | dict[str, Any], ...] = option(
        default=(), help="Parsers in the order in which they are asked. Empty: every installed one, by priority"
    )
    processors: tuple[str | dict[str, Any], ...] = option(
        default=(), help="What each message goes through, in this order"
    )
    reporters: tuple[str | dict[str, Any], ...] = option(
        help="Where messages go: each reporter gets all of them, one that is a fallback only what others give up",
        min_length=1,
    )
    unmatched_policy: Literal["drop", "forward"] = option(
        default="drop", help="What happens to packets that no parser takes; forward reports them, with payload type raw"
    )
    max_flows: int = option(
        default=262_144,
        ge=1,
        le=1 << 24,
        help="Flows, and endpoints too, that parsers may register for each other in a worker, with 1 KiB of memory for "
        "each on average; the least recently used go first. A plain call of the parser sip takes 4 of each",
    )
    cpu_affinity: tuple[int, ...] = option(
        default=(), ge=0, le=4095, help="CPUs to pin the workers to, in turn. Empty: none"
    )
    worker_max_rss: int = option(
        default=1 << 30,
        ge=0,
        help="A worker that takes so many bytes of memory is restarted; 0 means no limit",
    )


@configuration
class CaptureOptions:
    """What can stand beside the capturer's own options."""

    type: str = option(help="Name of the capturer", alias="name")
    id: str | None = option(default=None, help=COMPONENT_ID, pattern=ID)
    on_failure: OnFailure = option(default="fail", help=ON_FAILURE)


@configuration
class ParserOptions:
    """One parser of a task."""

    type: str = option(help="Name of the parser", alias="name")
    id: str | None = option(default=None, help=COMPONENT_ID, pattern=ID)
    config: dict[str, Any] = option(factory=dict, help="The parser's own options")
    on_failure: OnFailure = option(default="fail", help=ON_FAILURE)


@configuration
class ProcessorOptions:
    """One processor of a task."""

    type: str = option(help="Name of the processor", alias="name")
    id: str | None = option(default=None, help=COMPONENT_ID, pattern=ID)
    config: dict[str, Any] = option(factory=dict, help="The processor's own options")
    on_failure: OnFailure = option(default="fail", help=ON_FAILURE)
    on_error: Literal["drop", "pass"] = option(
        default="drop", help="Whether a packet is dropped or passed on when the processor raises, or is cut off"
    )


@configuration
class SpoolConfig:
    """Where a reporter's messages wait on disk while its destination is away."""

    path: str = option(
        pattern=r"/.*",
        max_length=1024,
        help="Folder of this reporter alone, an absolute path; each worker has one in it",
    )
    max_bytes: int = option(
        default=1 << 30,
        ge=1 << 20,
        le=1 << 44,
        help="Most bytes on disk of one worker; then messages go to the fallback, or the oldest are dropped",
    )
    max_age: Duration = option(
        default=86400.0, ge=1, le=366 * 86400, help="Messages that have waited for so long are dropped"
    )


@configuration
class ReporterOptions:
    """One reporter of a task."""

    type: str = option(help="Name of the reporter", alias="name")
    id: str | None = option(default=None, help=COMPONENT_ID, pattern=ID)
    config: dict[str, Any] = option(factory=dict, help="The reporter's own options")
    on_failure: OnFailure = option(default="fail", help=ON_FAILURE)
    batch_size: int | None = option(
        default=None, ge=1, le=100_000, help="Most messages in a batch; the reporter's own default if null"
    )
    batch_timeout: Duration | None = option(
        default=None,
        ge=0,
        le=3600,
        help="How long a message waits for its batch to fill; the reporter's own default if null",
    )
    fallback: str | None = option(
        default=None,
        help="Id of the reporter that gets what this one gives up, and what its buffer has no room for",
    )
    send_timeout: Duration = option(
        default=3.0,
        gt=0,
        le=3600,
        help="How long one call of the reporter may take; no effect for one with own retries",
    )
    max_retries: int = option(
        default=1,
        ge=0,
        le=100,
        help="How often a failed batch is tried again before it is given up; no effect for a reporter with own retries",
    )
    capacity: int = option(
        default=16384,
        ge=1,
        le=1 << 24,
        help="Most messages that wait; beyond that the oldest go to the fallback, or are dropped",
    )
    spool: SpoolConfig | None = option(
        default=None,
        help="Keep messages on disk while the destination does not answer, or if memory has no room for more",
    )
    max_bytes: int = option(
        default=32 << 20,
        ge=1 << 16,
        help="Most bytes that wait; beyond that the oldest messages go to the fallback, or are dropped",
    )
