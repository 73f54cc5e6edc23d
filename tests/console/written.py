"""What a console reporter writes, by way of a real pipe."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

import otus_sip
from otus_console.config import ConsoleConfig
from otus_console.reporter import ConsoleReporter
from otus_core import Context, OutputPacket, ReportResult
from otus_core.process.output import StdoutWriter
from otus_core.testing import packets
from otus_sip.config import SipConfig
from otus_sip.parser import SipParser

AT = 1_771_669_800_123_456_789
"""2026-02-21 10:30:00.123456789 UTC."""
HEADERS = {"From": "<sip:alice@atlanta.example>;tag=1", "To": "<sip:bob@b.example>", "Call-ID": "a84b4c76e66710"}
DATE = "2026-02-21 UTC"


class Terminal(StdoutWriter):
    """A pipe that says of itself that it is a terminal."""

    def __init__(self, descriptor: int, isatty: bool, columns: int = 0) -> None:
        super().__init__(descriptor)
        self.isatty = isatty
        self._columns = columns

    @property
    def columns(self) -> int:
        return self._columns


def written(
    *batches: Sequence[OutputPacket], isatty: bool = False, columns: int = 0, **config: Any
) -> tuple[bytes, list[ReportResult]]:
    """Report batches; gives the bytes that came out and the results."""
    reader, writer = os.pipe()
    came = bytearray()

    def read() -> None:
        while data := os.read(reader, 1 << 16):
            came.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        results = asyncio.run(report(Terminal(writer, isatty, columns), batches, **config))
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
    """Report batches; gives the lines that came out below the first date."""
    return written(*batches, **config)[0].decode().splitlines()[1:]


def message(payload: Any = None, **fields: Any) -> OutputPacket:
    """Make a message from 10.0.0.1:5060 to 10.0.0.20:5060."""
    told: dict[str, Any] = {"src_ip": "10.0.0.1", "dst_ip": "10.0.0.20", "src_port": 5060, "dst_port": 5060}
    told |= {"timestamp": AT, "payload_type": "sip", "raw_payload": b"x" * 33}
    return OutputPacket(**(told | fields), payload=payload)


def raw(start: str | bytes, method: str, sdp: str = "", **headers: str | bytes) -> bytes:
    """Make the bytes of a SIP message; headers are named with ``_`` for ``-``."""
    told: dict[str, str | bytes] = {**HEADERS, "CSeq": f"1 {method}", "Via": "SIP/2.0/UDP h;branch=z9hG4bK1"}
    told |= {"Max-Forwards": "70"} | {name.replace("_", "-"): value for name, value in headers.items()}
    if sdp:
        told["Content-Type"] = "application/sdp"
    told["Content-Length"] = str(len(_bytes(sdp)))
    fields = (_bytes(name) + b": " + _bytes(value) for name, value in told.items())
    return b"\r\n".join([_bytes(start), *fields, b"", _bytes(sdp)])


def sip(start: str | bytes, method: str, sdp: str = "", **headers: str | bytes) -> Any:
    """Make the payload of a sound SIP message."""
    return otus_sip.parse(raw(start, method, sdp, **headers))


def taken(start: str | bytes, method: str, sdp: str = "", **headers: str | bytes) -> Any:
    """Make the payload of a SIP message as a task has it, whatever is wrong with it."""
    packet = packets.decode(packets.udp(raw(start, method, sdp, **headers), dst_port=5060))
    parsed: Any = SipParser(SipConfig()).take(packet)
    return parsed.payload


def request(method: str = "INVITE", sdp: str = "", headers: dict[str, Any] | None = None, **fields: Any) -> Any:
    """Make a request."""
    payload = fields.pop("payload", None) or sip(f"{method} sip:bob@b.example SIP/2.0", method, sdp, **(headers or {}))
    return message(payload, **fields)


def response(code: str, reason: str | bytes, headers: dict[str, Any] | None = None, **fields: Any) -> OutputPacket:
    """Make a response to an INVITE."""
    return message(sip(b"SIP/2.0 " + code.encode() + b" " + _bytes(reason), "INVITE", **(headers or {})), **fields)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
