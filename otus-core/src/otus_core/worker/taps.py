"""Shows what a worker reports to somebody who looks in, without letting the packets feel it.

In: outputs on their way to the reporters, while somebody looks. Out: lines, every 0.1 s. Three bounds keep it harmless:
of each 0.1 s only so many messages are shown, only so many are compared with a filter, and what nobody takes is lost.
Who has had his share takes himself off the packets' way until the next 0.1 s begin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from otus_core.chores import Chores
from otus_core.model.json import encode_json_lines
from otus_core.model.lines import TextLines
from otus_core.model.output import OutputPacket
from otus_core.model.text import tell
from otus_core.pipeline.loop import Pipeline
from otus_core.plugins.registry import Registry
from otus_core.process.messages import REFUSAL_MAX, Tap, Tapped
from otus_core.values import define

EVERY_S = 0.1
"""A reader sees a message a tenth of a second after it passed; that costs ten messages between processes a second."""
COMPARED_MAX = 2_000
"""Messages that all taps together look at in each turn: some 2 ms of work."""
LINES_MAX = 1 << 20
"""Bytes of lines in one turn; what is beyond is skipped."""


class Spy:
    """One who looks in."""

    def __init__(self, tap: Tap, keep: Callable[[OutputPacket], bool] | None, schemas: dict[str, str]) -> None:
        self.number = tap.number
        self._keep = keep
        self._schemas = schemas
        self._text = TextLines(columns=tap.columns, colour=tap.colour, dated=True) if tap.format == "text" else None
        # One a turn would be ten a second: below that, what is left over adds up to a message.
        self._share = tap.rate * EVERY_S
        self._room = max(1.0, self._share)
        self._compared = 0
        self.compared_most = COMPARED_MAX
        self._waiting: list[OutputPacket] = []
        self._beyond = 0
        self._kept_before: int | None = None

    @property
    def sated(self) -> bool:
        """Whether it has had its share of this turn."""
        return self._room < 1 or self._compared >= self.compared_most

    def see(self, output: OutputPacket) -> None:
        """Take a message, if it is to be shown."""
        self._compared += 1
        if self._keep is None or self._keep(output):
            self._waiting.append(output)
            self._room -= 1

    def turn(self, kept: int) -> Tapped:
        """Give what there is to show, and begin another turn; ``kept`` is how many messages there were so far."""
        seen = 0 if self._kept_before is None else max(0, kept - self._kept_before)
        self._kept_before = kept
        skipped = max(0, seen - self._compared)
        lines, shown = self._lines()
        skipped += len(self._waiting) - shown
        self._waiting, self._compared = [], 0
        self._room = min(self._room + self._share, max(1.0, self._share))
        return Tapped(self.number, lines, seen, shown, skipped, "")

    def _lines(self) -> tuple[bytes, int]:
        made, shown = bytearray(), 0
        for output in self._waiting:
            try:
                line = self._line(output)
            except Exception:
                continue
            if len(made) + len(line) > LINES_MAX:
                break
            made += line
            shown += 1
        return bytes(made), shown

    def _line(self, output: OutputPacket) -> bytes:
        if self._text is None:
            return encode_json_lines((output,), "rfc3339", self._schemas)
        failed: list[tuple[int, Exception]] = []
        return self._text.encode((output,), failed)


@define(eq=False)
class Taps:
    """All who look in on this worker. ``tell`` takes what they are to be told."""

    pipeline: Pipeline
    kept: Callable[[], int]
    schemas: dict[str, str]
    tell: Callable[[Tapped], object]
    _spies: dict[int, Spy] = attrs.field(factory=dict)
    _chores: Chores = attrs.field(factory=Chores)
    _running: bool = False

    def begin(self, tap: Tap, registry: Registry) -> None:
        """Let somebody look in; what stands against that is told."""
        try:
            keep = _filter(tap.expression, registry) if tap.expression else None
        except Exception as error:
            self.tell(Tapped(tap.number, b"", 0, 0, 0, tell(error, REFUSAL_MAX)))
            return
        self._spies[tap.number] = Spy(tap, keep, self.schemas)
        self._spies[tap.number].turn(self.kept())
        self._share_out()
        self.pipeline.tap = self._see
        if not self._running:
            self._running = True
            self._chores.start("worker:tap", self._turn)

    def end(self, number: int) -> None:
        """Nobody looks any more."""
        self._spies.pop(number, None)
        self._share_out()

    async def stop(self) -> None:
        """End all of it, with a last look at what there is."""
        self.pipeline.tap = None
        self._tell_all()
        await self._chores.stop()

    def _share_out(self) -> None:
        for spy in self._spies.values():
            spy.compared_most = COMPARED_MAX // len(self._spies)

    def _see(self, output: OutputPacket) -> None:
        hungry = False
        for spy in list(self._spies.values()):
            if not spy.sated:
                spy.see(output)
                hungry = hungry or not spy.sated
        if not hungry:
            self.pipeline.tap = None

    async def _turn(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self._tell_all()
            self.pipeline.tap = self._see if self._spies else None

    def _tell_all(self) -> None:
        kept = self.kept()
        for spy in self._spies.values():
            self.tell(spy.turn(kept))


def _filter(expression: str, registry: Registry) -> Callable[[OutputPacket], bool]:
    """Make what says whether a message is to be shown. Raises whatever the plugin of filters raises."""
    declaration = registry.component("processor", "filter").declaration
    component = declaration.load_factory()(declaration.load_config()(keep_if=expression))
    process: Callable[[OutputPacket], bool] = component.process
    return process
