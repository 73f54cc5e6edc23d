"""The reporter: encodes a batch and writes it.

A closed standard output leaves ``report`` as StdoutClosed, from which the core knows that nobody reads any more.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

from otus_console.config import ConsoleConfig
from otus_core import (
    BaseReporter,
    Context,
    LineWriter,
    Logger,
    OutputPacket,
    PluginInitFailed,
    ReportResult,
    TextLines,
    encode_json_lines,
)

log = Logger("otus.console")
WRITE_AT_ONCE = 40
"""Messages of JSON in one write: some 100 kB, which malloc has at hand; more is fetched from the kernel page by page,
every time.
"""
TURN_S = 0.002
"""After so long others get the thread: records may be put together only when they are written, each in 0.2 ms."""

Failures = list[tuple[int, Exception]]
"""The messages that could not be encoded: their places in the batch, and what was raised."""


class ConsoleReporter(BaseReporter):
    """Prints one line a message."""

    def __init__(self, config: ConsoleConfig) -> None:
        self._config = config
        self._stdout: LineWriter | None = None
        self._text: TextLines | None = None
        self._schemas: dict[str, str] = {}
        self._told = False

    def wire(self, context: Context) -> None:
        """Take standard output. Raises PluginInitFailed where there is none."""
        if context.stdout is None:
            raise PluginInitFailed("console: there is no standard output here; use a file or network reporter")
        self._stdout = context.stdout
        self._schemas = context.schemas
        if self._config.format == "text":
            self._text = TextLines(
                columns=context.stdout.columns,
                colour=wants_colour(self._config.color, context.stdout.isatty),
                utc=self._config.time == "utc",
                dated=context.peers is not None,  # lines of several workers mix: a date above them would not hold
            )

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        """Write the batch. A message whose payload cannot be encoded fails alone. Raises StdoutClosed."""
        stdout, text = self._stdout, self._text
        assert stdout is not None  # wired before anything is reported
        failures: Failures = []
        if text is not None:
            text.columns = stdout.columns
            await self._write(text.encode(batch, failures))
        else:
            turn = time.monotonic()
            for start in range(0, len(batch), WRITE_AT_ONCE):
                await self._write(_objects(batch, start, self._schemas, failures))
                if time.monotonic() - turn > TURN_S:
                    await asyncio.sleep(0)
                    turn = time.monotonic()
        if failures and not self._told:
            self._told = True
            place, error = failures[0]
            log.warning("message_not_encoded", payload_type=batch[place].payload_type, error=repr(error))
        unwritten = [place for place, _ in failures]
        return ReportResult(len(batch) - len(unwritten), {"encode": unwritten} if unwritten else {})

    async def _write(self, lines: bytes) -> None:
        if lines and self._stdout is not None:
            await self._stdout.write(lines)


def wants_colour(setting: str, isatty: bool) -> bool:
    """Say whether to colour; what the user configured goes before the environment (no-color.org)."""
    if setting != "auto":
        return setting == "always"
    return isatty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _objects(batch: Sequence[OutputPacket], start: int, schemas: dict[str, str], failures: Failures) -> bytes:
    """Encode some messages as JSON; one by one only where one of them fails."""
    part = batch[start : start + WRITE_AT_ONCE]
    try:
        return encode_json_lines(part, "rfc3339", schemas)
    except Exception:  # noqa: BLE001 - a payload is a parser's own and raises what it likes
        lines = []
        for place, output in enumerate(part, start):
            try:
                lines.append(encode_json_lines((output,), "rfc3339", schemas))
            except Exception as error:  # noqa: BLE001 - the same, of one message
                failures.append((place, error))
        return b"".join(lines)
