"""The reporter: encodes a batch and writes it at once.

A closed standard output leaves ``report`` as StdoutClosed, from which the core knows that nobody reads any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from otus_console.config import ConsoleConfig
from otus_console.text import TextLines
from otus_core import (
    BaseReporter,
    Context,
    LineWriter,
    Logger,
    OutputPacket,
    PluginInitFailed,
    ReportResult,
    encode_json_lines,
)

log = Logger("otus.console")
T = TypeVar("T")
WRITE_AT_ONCE = 40
"""Messages of JSON in one write: some 100 kB, which malloc has at hand; more is fetched from the kernel page by page,
every time.
"""


class ConsoleReporter(BaseReporter):
    """Prints one line a message."""

    def __init__(self, config: ConsoleConfig) -> None:
        self._config = config
        self._stdout: LineWriter | None = None
        self._text: TextLines | None = None
        self._told = False

    def wire(self, context: Context) -> None:
        """Take standard output. Raises PluginInitFailed where there is none."""
        if context.stdout is None:
            raise PluginInitFailed("console: there is no standard output here; use a file or network reporter")
        self._stdout = context.stdout
        if self._config.format == "text":
            colour = wants_colour(self._config.color, context.stdout.isatty)
            self._text = TextLines(colour=colour, utc=self._config.time == "utc")

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        """Write the batch. A message whose payload cannot be encoded fails alone. Raises StdoutClosed."""
        assert self._stdout is not None  # wired before anything is reported
        text = self._text
        unwritten: list[int] = []
        step = WRITE_AT_ONCE if text is None else len(batch) or 1  # lines of text are aligned with each other
        for start in range(0, len(batch), step):
            part = batch[start : start + step]
            lines, failed = self._objects(part) if text is None else self._rows(part, text)
            if lines:
                await self._stdout.write(lines)
            unwritten += (start + place for place in failed)
        return ReportResult(len(batch) - len(unwritten), {"encode": unwritten} if unwritten else {})

    def _objects(self, batch: Sequence[OutputPacket]) -> tuple[bytes, list[int]]:
        """Encode all as JSON; one by one only where one of them fails. Gives the places of those that do, too."""
        try:
            return encode_json_lines(batch, "rfc3339"), []
        except Exception:  # noqa: BLE001 - a fault boundary
            lines, failed = self._each(batch, _json)
            return b"".join(lines), failed

    def _rows(self, batch: Sequence[OutputPacket], text: TextLines) -> tuple[bytes, list[int]]:
        rows, failed = self._each(batch, text.row)
        lines = text.lines(rows)
        return b"\n".join((*lines, b"")) if lines else b"", failed

    def _each(self, batch: Sequence[OutputPacket], encode: Callable[[OutputPacket], T]) -> tuple[list[T], list[int]]:
        """Encode each message. A payload is a parser's own and raises what it likes: the first is logged, all count."""
        encoded: list[T] = []
        failed: list[int] = []
        for place, output in enumerate(batch):
            try:
                encoded.append(encode(output))
            except Exception as error:  # noqa: BLE001 - a fault boundary
                failed.append(place)
                if not self._told:
                    self._told = True
                    log.warning("message_not_encoded", payload_type=output.payload_type, error=repr(error))
        return encoded, failed


def wants_colour(setting: str, isatty: bool) -> bool:
    """Say whether to colour; what the user configured goes before the environment (no-color.org)."""
    if setting != "auto":
        return setting == "always"
    return isatty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _json(output: OutputPacket) -> bytes:
    return encode_json_lines((output,), "rfc3339")
