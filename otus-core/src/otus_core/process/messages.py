"""What a task's processes tell each other: every kind of message, who sends it, and what may be in it.

On its way a message is a tuple, its kind's name and its values, so that ``marshal`` can take it. Values are checked
where they arrive, as far as their type goes: a worker has read hostile packets, and who acts on what it says has to
expect a text of any length, or a mapping of anything.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from otus_core.process.connections import Connection
from otus_core.values import frozen


@frozen
class InitWorker:
    """The first message to a worker. With it come the descriptors of the counters' memory and of the pipe for output,
    then those of the capture, if an opener has opened it.

    ``task`` is the task's plain data; ``user`` the ids of the user and the group that the worker becomes when it is
    root; ``open_circuits`` are components, by ``kind:id``, that took earlier workers down; ``secret`` decides which
    worker owns a key.
    """

    task: dict[str, Any]
    plugins: dict[str, Any]
    shard: int
    shards: int
    hostname: str
    node_ip: str
    tags: dict[str, str]
    counters_size: int
    isatty: bool
    columns: int
    log_level: str
    cpus: list[int]
    has_opener: bool
    user: tuple[int, int] | None
    open_circuits: list[str]
    secret: bytes


@frozen
class Stop:
    """To a worker: end well, soon."""


@frozen
class LogLevel:
    """To a worker: log from this level on."""

    level: str


@frozen
class Columns:
    """To a worker: the terminal has got this width."""

    columns: int


@frozen
class Descriptors:
    """To a worker: here are the new descriptors of the capture that it asked for."""


@frozen
class Exclude:
    """To a worker: these connections, of all of Otus's processes, are to be left out of the capture."""

    connections: list[Connection]


@frozen
class TaskState:
    """To a worker: the state of a task, its own or another one's, has changed."""

    task_id: str
    old: str
    new: str
    reason: str


@frozen
class Tap:
    """To a worker: show up to ``rate`` messages a second that match ``expression``, as ``text`` or ``json``."""

    number: int
    expression: str
    format: str
    columns: int
    colour: bool
    rate: int


@frozen
class Untap:
    """To a worker: nobody looks any more."""

    number: int


REFUSAL_MAX = 300
"""Characters of a refusal: a line of the terminal or two, whatever an expression or a plugin says."""


@frozen
class Tapped:
    """From a worker: whole lines for who looks in. ``seen`` messages went to the reporters since it last told; of these
    ``shown`` are in ``lines``, and ``skipped`` are not because they were too many. ``refusal``: why there is nothing.
    """

    number: int
    lines: bytes
    seen: int
    shown: int
    skipped: int
    refusal: str


@frozen
class Publish:
    """From a worker, and on to its siblings: what components tell those in other workers, packed once more.

    The parent passes it on unread. ``count`` is how many messages there are.
    """

    count: int
    packed: bytes


@frozen
class PublishLost:
    """To a worker: so many messages that it published did not reach a sibling; one that two miss counts twice."""

    count: int


@frozen
class Route:
    """From a worker: packed messages for the worker that owns their keys, with how many there are of each component."""

    owner: int
    counts: dict[str, int]
    packed: bytes


@frozen
class Routed:
    """To a worker: packed messages from another worker, for components here. The parent has passed them on unread."""

    packed: bytes


@frozen
class RouteLost:
    """To a worker: so many messages of each component could not be passed on."""

    counts: dict[str, int]


@frozen
class Arrived:
    """From a worker: it has sent everything that it sends before this stage of its end. ``more``: it wants another."""

    stage: str
    more: bool


@frozen
class Met:
    """To a worker: all workers have arrived at this stage, and what they sent before it has been passed on.

    ``more``: one of them wants another.
    """

    stage: str
    more: bool


@frozen
class Started:
    """From a worker: it runs, with these reporters, and without the components left out, by ``kind id``."""

    reporters: tuple[str, ...]
    left_out: tuple[str, ...]


@frozen
class Fault:
    """From a worker: its source reports something that it could not read."""

    source: str
    reason: str
    offset: int | None
    fatal: bool


@frozen
class Trouble:
    """From a worker: nothing comes in, for this reason; empty when something may come again.

    While it is being started: a component could not be, and is tried again.
    """

    reason: str


@frozen
class WantDescriptors:
    """From a worker: its source needs new descriptors."""


@frozen
class Reporters:
    """From a worker: what its reporters tell of their destinations, by name."""

    statuses: dict[str, dict[str, Any]]


@frozen
class Components:
    """From a worker: what its components say of themselves, by ``kind:id``: a status, and why."""

    said: dict[str, tuple[str, str]]


@frozen
class Connections:
    """From a worker: the TCP connections that it has now."""

    connections: list[Connection]


@frozen
class Chore:
    """From a worker: a chore of this name has failed so often more."""

    name: str
    failures: int


@frozen
class Failed:
    """From a worker, its last: it ends because of this."""

    reason: str


@frozen
class Ended:
    """From a worker, its last: it has read its source, or was stopped, or nobody reads its output any more."""


@frozen
class Log:
    """From a worker or an opener: an event for the log."""

    level: str
    event: dict[str, Any]


@frozen
class InitOpener:
    """The first message to an opener: the part of the task that it needs, and the one plugin that it is to import."""

    task: dict[str, Any]
    plugins: dict[str, Any]
    log_level: str


@frozen
class Acquire:
    """To an opener: open the capture for this worker. ``number`` is in the answer."""

    number: int
    shard: int
    shards: int


@frozen
class Ready:
    """From an opener: it has read its task."""


@frozen
class Acquired:
    """From an opener: the descriptors come with this."""

    number: int


@frozen
class Refused:
    """From an opener: it could not open the capture, and need not be asked again if that is ``fatal``."""

    number: int
    reason: str
    fatal: bool


ToWorker = (
    InitWorker | Stop | LogLevel | Columns | Descriptors | Exclude | TaskState | Publish | PublishLost | Routed
    | RouteLost | Met | Tap | Untap
)  # fmt: skip
FromWorker = (
    Publish | Route | Arrived | Log | Started | Fault | Trouble | WantDescriptors | Reporters | Components
    | Connections | Chore | Failed | Ended | Tapped
)  # fmt: skip
ToOpener = InitOpener | Acquire
FromOpener = Ready | Acquired | Refused | Log
Message = ToWorker | FromWorker | ToOpener | FromOpener

TO_WORKER: Mapping[str, type[ToWorker]] = {kind.__name__: kind for kind in get_args(ToWorker)}
FROM_WORKER: Mapping[str, type[FromWorker]] = {kind.__name__: kind for kind in get_args(FromWorker)}
TO_OPENER: Mapping[str, type[ToOpener]] = {kind.__name__: kind for kind in get_args(ToOpener)}
FROM_OPENER: Mapping[str, type[FromOpener]] = {kind.__name__: kind for kind in get_args(FromOpener)}
M = TypeVar("M")


def _types_of(kind: type) -> dict[str, tuple[type, ...]]:
    """Give the classes that each of a message's values may be of: ``dict`` for ``dict[str, Any]``."""
    hints = {
        name: get_args(hint) if isinstance(hint, UnionType) else (hint,) for name, hint in get_type_hints(kind).items()
    }
    return {name: tuple(get_origin(one) or one for one in alternatives) for name, alternatives in hints.items()}


_TYPES = {kind: _types_of(kind) for kind in get_args(Message)}


def pack(message: Message) -> bytes:
    """Make a message bytes."""
    kind = type(message)
    return marshal.dumps((kind.__name__, *[getattr(message, name) for name in _TYPES[kind]]))


def unpack(body: bytes, kinds: Mapping[str, type[M]]) -> M:
    """Make bytes a message of one of these kinds.

    Raises ValueError, EOFError, TypeError or LookupError for what is none.
    """
    # Not pickle, which would run what a worker under an attacker's control sends; both ends run the same Python, so the
    # format is the same.
    name, *values = marshal.loads(body)
    kind = kinds[name]
    if not all(map(isinstance, values, _TYPES[kind].values())):
        raise TypeError(f"a value of {name} is not of its type")
    return kind(*values)
