"""What a component receives from its surroundings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from otus_core.values import frozen

if TYPE_CHECKING:
    from otus_core.model.flows import FlowRegistry
    from otus_core.model.record import Record


class LineWriter(Protocol):
    """The way to standard output. Only the parent process writes there, so components hand whole lines to it."""

    isatty: bool

    @property
    def columns(self) -> int:
        """The width of the terminal as it is now, 0 where there is none."""
        ...

    async def write(self, lines: bytes) -> None:
        """Hand over one or more whole lines; waits while the reader is slow.

        Raises StdoutClosed, a BrokenPipeError, when nobody reads any more. A reporter lets that error pass through, so
        that the core learns of it.
        """
        ...


class Counter(Protocol):
    """A counter of a component."""

    def __call__(self, n: int = 1) -> None:
        """Add 1, or ``n``. Raises ValueError for a negative number."""
        ...


def _count_nowhere(n: int = 1) -> None:
    """Count for a component that no task runs."""


def _refuse_record(_record: Record) -> None:
    raise RuntimeError("this component declares no payload types, so it has nothing to emit")


def _refuse_route(_key: str, _message: Any) -> None:
    raise RuntimeError("this component does not declare routes, so it cannot route")


@frozen(kw_only=True, eq=False)
class Context:
    """What a component receives from its surroundings in ``wire``.

    - ``flows``: the registry of flows, for parsers that declare ``wants_flows``.
    - ``stdout``: standard output, for reporters.
    - ``peers``: publishes small messages to the same component in the task's other workers; ``None`` if there is only
      one worker.
    - ``alone``: whether this is the task's only worker, so that whatever would be routed comes back here.
    - ``call_labels``: by payload type, the label that tells calls apart, where the parser declares one.
    - ``schemas``: by payload type, the name of its messages' schema (``urn:otus:schema:call:1``), where their maker
      declares one.
    - ``data_dir``: a folder for what must survive a restart, for command channels.
    - ``instance``: names this run of the daemon, and tells it apart from another one with the same ``hostname``; for
      command channels.
    - ``emit(record)``: hands over a ``Record``, at any time while a parser or processor is called. It goes on when the
      call returns: through the processors behind the component, then to the reporters. Raises TypeError and ValueError
      for a record that is not sound, and after 4,096 records in one call.
    - ``route(key, message)``: hands a small message, made of plain values, to ``on_route`` of the same component in the
      worker that owns the key; a plain call if that is this worker. For components that declare ``routes``.
    - ``counter(name)``: gives one of the ``counters`` that the component declares, or of a parser's ``hidden`` kinds.
      Calling it adds 1, or a number: ask for it once, in ``wire``, and keep it. Raises ValueError for any other name.
    - ``capture_drops()``: how many frames the capturer has lost in this worker so far because nobody could take them in
      time; what is missing in the packets then need not be missing on the wire. Looked at twice a second, and once more
      before parsers finish. For parsers and processors.
    - ``status(status, why="")``: says how the component is, at any time: ``"ok"``, ``"degraded"`` or ``"failed"``, and
      why. It is shown until the component says another, and changes nothing else. Raises ValueError for another word.
    - ``has_fallback`` and ``has_spool``: tell a reporter what becomes of messages that it gives up.
    """

    task_id: str
    agent_id: str
    pipeline_id: int = 0
    component_id: str = ""
    hostname: str = ""
    node_ip: str = ""
    tags: Mapping[str, str] = attrs.field(factory=dict)
    flows: FlowRegistry | None = None
    stdout: LineWriter | None = None
    peers: Callable[[Any], None] | None = None
    alone: bool = False
    call_labels: Mapping[str, str] = attrs.field(factory=dict)
    schemas: dict[str, str] = attrs.field(factory=dict)
    data_dir: str = ""
    instance: str = ""
    emit: Callable[[Record], None] = _refuse_record
    route: Callable[[str, Any], None] = _refuse_route
    counter: Callable[[str], Counter] = attrs.field(default=lambda _name: _count_nowhere)
    capture_drops: Callable[[], int] = attrs.field(default=lambda: 0)
    status: Callable[..., None] = attrs.field(default=lambda _status, _why="": None)
    has_fallback: bool = False
    has_spool: bool = False
