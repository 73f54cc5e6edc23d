"""What parsers and processors have in common that speak over time: records, ticks, the end, messages between workers.

A component that does none of this passes without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from otus_core.pipeline.slots import TICK_LEAST_S, TICK_MOST_S
from otus_core.testing.contract.component import Contract
from otus_core.testing.contract.messages import BEGUN_NS
from otus_core.testing.contract.speaking import Spoken, find_own

SECOND = 10**9
LATER_NS = BEGUN_NS + 86_400 * SECOND
TIMES = (0, BEGUN_NS, BEGUN_NS - SECOND, LATER_NS, 2**62)
"""Clocks are set, captures are old, and headers lie."""


class TimelyContract(Contract):
    """What parsers and processors must do alike; a suite says how a component is fed."""

    def begin(self) -> tuple[Any, Spoken]:
        """Construct, wire and start a new component; gives also what it says."""
        made, spoken = self.make_speaking()
        made.start()
        return made, spoken

    def feed(self, component: Any, spoken: Spoken) -> None:
        """Give it everything that it is tried with, and ticks between."""
        raise NotImplementedError

    def tick(self, component: Any, spoken: Spoken, now: int) -> None:
        """Tell it the time, if it wants to know."""
        if find_own(component, "tick") is not None:
            spoken.call(component.tick, now)

    def finish(self, component: Any, spoken: Spoken, now: int) -> None:
        """Tell it that the source has ended, and stop it."""
        for _ in self.rounds(component, spoken, now):
            pass
        self._end(component, spoken, now)

    def rounds(self, component: Any, spoken: Spoken, now: int) -> Iterator[None]:
        """Have it route what is open, round by round, before it finishes."""
        if self.kind == "processor" and self.declaration.routes and find_own(component, "before_finish") is not None:
            yield from spoken.rounds(component.before_finish(now))

    def _end(self, component: Any, spoken: Spoken, now: int) -> None:
        if find_own(component, "finish") is not None:
            spoken.call(component.finish, now)
        component.stop()
        assert not spoken.faults, spoken.faults

    def _tell_all(self) -> list[str]:
        component, spoken = self.begin()
        self.feed(component, spoken)
        self.finish(component, spoken, LATER_NS)
        return spoken.tell_all()

    def test_it_says_when_it_wants_to_tick(self) -> None:
        """A component with a ``tick`` has an interval; the core starts no other."""
        component, _ = self.begin()
        if find_own(component, "tick") is not None:
            interval: Any = getattr(component, "tick_interval", None)
            assert type(interval) in (int, float), f"tick_interval is {interval!r}, not seconds"
            assert TICK_LEAST_S <= interval <= TICK_MOST_S, f"tick_interval is {interval} s"
        component.stop()

    def test_records_are_as_declared(self) -> None:
        """What it emits, by call or as an iterator, has the payload types that it declares; what it routes is plain."""
        self._tell_all()

    def test_it_begins_anew_when_it_is_made_anew(self) -> None:
        """A worker may be replaced: nothing is held over from one component to the next, and the same input gives the
        same records.
        """
        assert self._tell_all() == self._tell_all()

    def test_the_clock_may_say_anything(self) -> None:
        """Neither a tick nor the end raises, whatever the time, and also before the first packet."""
        for end in TIMES:
            component, spoken = self.begin()
            for now in TIMES:
                self.tick(component, spoken, now)
            self.feed(component, spoken)
            for now in TIMES:
                self.tick(component, spoken, now)
            self.finish(component, spoken, end)

    def test_any_message_of_its_own_is_taken(self) -> None:
        """What it routed may arrive late, after all that it belongs to."""
        component, spoken = self.begin()
        sent: list[tuple[str, Any]] = []
        spoken.deliver = lambda key, message: sent.append((key, message))
        self.feed(component, spoken)
        self.finish(component, spoken, LATER_NS)
        if not sent:
            pytest.skip("it routes nothing")
        late, heard = self.begin()
        for key, message in sent:
            heard.call(late.on_route, key, message)
        self.finish(late, heard, LATER_NS)
