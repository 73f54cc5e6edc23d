"""What a console reporter writes, by way of a real pipe."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

import attrs

from otus_console.config import ConsoleConfig
from otus_console.reporter import ConsoleReporter
from otus_core import Context, OutputPacket, ReportResult
from otus_core.process.output import StdoutWriter

AT = 1_771_669_800_123_456_789
"""2026-02-21 10:30:00.123456789 UTC."""
CALL = {"sip.call_id": "a84b4c76e66710", "sip.from_uri": "sip:alice@atlanta.example", "sip.to_uri": "sip:bob@b.example"}


@attrs.frozen
class Medium:
    media: str
    port: int
    codecs: tuple[str, ...] = ()


@attrs.frozen
class Description:
    media: tuple[Medium, ...] = ()


@attrs.frozen
class Message:
    """A payload as a SIP parser may give it."""

    reason: str | None = None
    sdp: Description | None = None


class Terminal(StdoutWriter):
    """A pipe that says of itself that it is a terminal."""

    def __init__(self, descriptor: int, isatty: bool) -> None:
        super().__init__(descriptor)
        self.isatty = isatty


def written(*batches: Sequence[OutputPacket], isatty: bool = False, **config: Any) -> tuple[bytes, list[ReportResult]]:
    """Report batches; gives the bytes that came out and the results."""
    reader, writer = os.pipe()
    came = bytearray()

    def read() -> None:
        while data := os.read(reader, 1 << 16):
            came.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        results = asyncio.run(report(Terminal(writer, isatty), batches, **config))
    finally:
        os.close(writer)
        thread.join()
        os.close(reader)
    return bytes(came), results


async def report(writer: StdoutWriter, batches: Sequence[Sequence[OutputPacket]], **config: Any) -> list[ReportResult]:
    """Take a reporter through its life."""
    reporter = ConsoleReporter(ConsoleConfig(**({"time": "utc"} | config)))
    reporter.wire(Context(task_id="t", agent_id="a", stdout=writer))
    await reporter.start()
    try:
        return [await reporter.report(batch) for batch in batches]
    finally:
        await reporter.stop()


def lines(*batches: Sequence[OutputPacket], **config: Any) -> list[str]:
    """Report batches; gives the lines that came out."""
    return written(*batches, **config)[0].decode().splitlines()


def message(labels: dict[str, str] | None = None, payload: Any = None, **fields: Any) -> OutputPacket:
    """Make a message from 10.0.0.1:5060 to 10.0.0.20:5060."""
    told: dict[str, Any] = {"src_ip": "10.0.0.1", "dst_ip": "10.0.0.20", "src_port": 5060, "dst_port": 5060}
    told |= {"timestamp": AT, "payload_type": "sip", "raw_payload": b"x" * 33}
    return OutputPacket(**(told | fields), payload=payload, labels=CALL | (labels or {}))


def request(method: str = "INVITE", labels: dict[str, str] | None = None, **fields: Any) -> OutputPacket:
    """Make a request."""
    return message({"sip.method": method, "sip.cseq_method": method} | (labels or {}), **fields)


def response(code: str, reason: str, **fields: Any) -> OutputPacket:
    """Make a response to an INVITE."""
    return message({"sip.status_code": code, "sip.cseq_method": "INVITE"}, Message(reason), **fields)
