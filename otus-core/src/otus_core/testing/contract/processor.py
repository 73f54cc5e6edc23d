"""The contract of processors, which get messages and records that parsers, and processors before them, have made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any

import pytest

from otus_core.components import BaseProcessor, Consumed
from otus_core.model.output import OutputPacket, let_replace
from otus_core.testing.contract.messages import BEGUN_NS, odd_outputs, outputs
from otus_core.testing.contract.speaking import Spoken
from otus_core.testing.contract.timely import SECOND, TimelyContract

WORKERS = 2


class ProcessorContract(TimelyContract):
    """What a processor must do.

    ``messages`` gives what it is tried with. A processor that ``accepts`` certain payload types gives messages of these
    there.
    """

    kind = "processor"

    def messages(self) -> list[OutputPacket]:
        """Messages that it is tried with, in the order of their time."""
        return outputs()

    def make_processor(self) -> BaseProcessor:
        """Construct, wire and start a new processor."""
        made: BaseProcessor = self.make()
        made.start()
        return made

    def feed(self, component: Any, spoken: Spoken) -> None:
        """Give it all messages, a second apart, and a tick after each."""
        for n, output in enumerate(self.messages()):
            self.process(component, spoken, output)
            self.tick(component, spoken, output.timestamp + n * SECOND)

    def process(self, component: Any, spoken: Spoken, output: OutputPacket) -> Any:
        """Give it one message, and see that it does with it what it may."""
        payload, raw = output.payload, output.raw_payload
        let_replace(output, self.declaration.rewrites)
        answer = spoken.call(component.process, output)
        let_replace(output, False)
        assert isinstance(answer, (bool, Consumed)), f"process() gave {answer!r}, not True, False or CONSUMED"
        if not self.declaration.rewrites:
            assert (output.payload, output.raw_payload) == (payload, raw), "it changed a payload without rewrites"
        for name, value in output.labels.items():
            assert type(name) is str and type(value) is str, f"label {name!r}: {value!r} is no text"
        return answer

    def test_it_decides_and_leaves_payloads_alone(self) -> None:
        """``process`` says what becomes of a message; labels stay text, and payloads as they are."""
        processor, spoken = self.begin()
        for output in self.messages():
            self.process(processor, spoken, output)
        processor.stop()

    def test_labels_may_be_missing(self) -> None:
        """Not every protocol has every label."""
        processor, spoken = self.begin()
        self.process(processor, spoken, OutputPacket(labels={}, payload_type=self._type()))
        processor.stop()

    def test_odd_messages_do_no_harm(self) -> None:
        """Packets bring about any text in labels, and any time; nothing is raised."""
        processor, spoken = self.begin()
        for what, output in odd_outputs(self._type()).items():
            try:
                self.process(processor, spoken, output)
                self.tick(processor, spoken, output.timestamp)
            except Exception as error:
                raise AssertionError(f"a message with {what}: {type(error).__name__}: {error}") from error
        self.finish(processor, spoken, BEGUN_NS)

    def test_the_number_of_workers_changes_nothing(self) -> None:
        """What it routes goes to the worker that owns the key; together they say what one alone says."""
        if not self.declaration.routes:
            pytest.skip("it routes nothing")
        assert self._together(WORKERS) == self._together(1)

    def _together(self, workers: int) -> list[str]:
        """Give what a number of workers say who share the messages."""
        messages = self.messages()
        team = [self.begin() for _ in range(workers)]
        for _, spoken in team:
            spoken.deliver = lambda key, message: _owner(team, key).on_route(key, message)
        for n, output in enumerate(messages):
            self.process(*team[n % workers], output)
        now = max((output.timestamp for output in messages), default=0)
        self._go_rounds(team, now)
        for component, spoken in team:
            self._end(component, spoken, now)
        return sorted(record for _, spoken in team for record in spoken.tell_all())

    def _go_rounds(self, team: Sequence[tuple[Any, Spoken]], now: int) -> None:
        """Have all route what is open, round by round: what they route to each other arrives between two rounds."""
        waiting: list[tuple[str, Any]] = []
        for component, spoken in team:
            spoken.deliver = _delivers(team, component, waiting)
        for _ in chain(zip_longest(*(self.rounds(component, spoken, now) for component, spoken in team)), (None,)):
            arrived = waiting.copy()
            waiting.clear()
            for key, message in arrived:
                _owner(team, key).on_route(key, message)

    def _type(self) -> str:
        return self.declaration.accepts[0] if self.declaration.accepts else "sip"


def _delivers(
    team: Sequence[tuple[Any, Spoken]], component: Any, waiting: list[tuple[str, Any]]
) -> Callable[[str, Any], None]:
    def deliver(key: str, message: Any) -> None:
        if _owner(team, key) is component:
            component.on_route(key, message)
        else:
            waiting.append((key, message))

    return deliver


def _owner(team: Sequence[tuple[Any, Spoken]], key: str) -> Any:
    return team[sum(key.encode("utf-8", "surrogatepass")) % len(team)][0]
