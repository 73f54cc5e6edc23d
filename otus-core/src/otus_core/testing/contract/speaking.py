"""Where a component under test stands: what it emits and routes is held to the rules, and kept."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from otus_core.components import BaseParser, BaseProcessor
from otus_core.model.json import encode_json
from otus_core.model.output import OutputPacket
from otus_core.pipeline.slots import RECORDS_MAX, Outbox
from otus_core.pipeline.turns import ROUNDS_MAX
from otus_core.worker.routes import MESSAGE_MAX

FRAMES_MAX = 1_000_000
"""Records that one ``tick`` or ``finish`` may give: a suite does not wait for more."""


class Spoken:
    """Takes what one component says. ``faults`` are breaches, also those that the component itself has caught."""

    def __init__(self, declaration: Any, name: str) -> None:
        types = getattr(declaration, "payload_types" if declaration.kind == "parser" else "produces", ())
        self._outbox = Outbox(f"{declaration.kind} {name}", types)
        self._routes = bool(getattr(declaration, "routes", False))
        self._in_call = 0
        self.records: list[Any] = []
        self.faults: list[str] = []
        self.deliver: Callable[[str, Any], None] = lambda _key, _message: None

    def emit(self, record: Any) -> None:
        """Take a record, as ``context.emit`` does."""
        self._in_call += 1
        try:
            self._outbox.check(record)
            if self._in_call > RECORDS_MAX:
                raise ValueError(f"more than {RECORDS_MAX} records in one call; tick and finish may return an iterator")
        except (TypeError, ValueError) as error:
            self.faults.append(str(error))
            raise
        self.records.append(record)

    def route(self, key: str, message: Any) -> None:
        """Take a message, as ``context.route`` does: packed, because the owner may be another process."""
        try:
            if not self._routes:
                raise RuntimeError("the component does not declare routes")
            if type(key) is not str:
                raise TypeError(f"the key {key!r} is no text")
            packed = marshal.dumps(message)
            if len(packed) > MESSAGE_MAX:
                raise ValueError(f"a routed message of {len(packed)} bytes; at most {MESSAGE_MAX} may be sent")
        except (RuntimeError, TypeError, ValueError) as error:
            self.faults.append(f"route(): {error}")
            raise
        self.deliver(key, marshal.loads(packed))

    def call(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of the component, and take the records that it gives."""
        self._in_call = 0
        answer = call(*arguments)
        if call.__name__ in ("tick", "finish") and answer is not None:
            assert isinstance(answer, Iterable), f"{call.__name__}() gave {answer!r}, neither None nor an iterable"
            for n, record in enumerate(answer):
                assert n < FRAMES_MAX, f"{call.__name__}() gives more than {FRAMES_MAX:,} records"
                self._in_call = 0
                self.emit(record)
        assert not self.faults, self.faults
        return answer

    def rounds(self, given: Any) -> Iterator[None]:
        """Have what ``before_finish`` gave go on, round by round."""
        self._in_call = 0
        if given is not None:
            assert isinstance(given, Iterable), f"before_finish() gave {given!r}, neither None nor an iterable"
            for n, one in enumerate(given):
                assert one is None, f"before_finish() gave {one!r}: each yield stands for a round alone"
                assert n < ROUNDS_MAX, f"before_finish() takes more than {ROUNDS_MAX} rounds"
                yield
                self._in_call = 0
        assert not self.faults, self.faults

    def tell_all(self) -> list[str]:
        """Give the records in a form that can be compared, sorted."""
        return sorted(_plain(record) for record in self.records)


def _plain(record: Any) -> str:
    output = OutputPacket(
        payload_type=record.payload_type, payload=record.payload, labels=record.labels, timestamp=record.timestamp
    )
    return f"{record.key} {encode_json(output)!r}"


def find_own(component: Any, method: str) -> Any:
    """Give a method that the component itself has, ``None`` where it is the base class's, which does nothing."""
    bases = (BaseParser, BaseProcessor)
    given = getattr(type(component), method, None)
    return None if any(given is getattr(base, method, None) for base in bases) else getattr(component, method, None)
