"""The reporter ``hep``: sends messages to Homer, or to whoever else takes HEP version 3.

A batch is encoded in the order of its times (``encoding``) and goes to the first server that is there (``server``,
``connection``); with ``distribution: share``, to those whose calls they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from otus_core import (
    BaseReporter,
    Context,
    OutputPacket,
    PluginInitFailed,
    ReportResult,
    client_tls,
    read_secret,
)
from otus_hep.config import HepReporterConfig
from otus_hep.connection import StreamServer
from otus_hep.encoding import Encoder, Packets
from otus_hep.server import DatagramServer, Server

Failures = dict[str, list[int]]
FINAL: tuple[str, ...] = ("encode", "left_out")
"""Reasons for which nobody could send a message."""


class HepReporter(BaseReporter):
    """Sends outputs in HEP."""

    def __init__(self, config: HepReporterConfig) -> None:
        self._config = config
        self._call_labels: Mapping[str, str] = {}
        self._node = config.node_name
        self._servers: list[Server] = []
        self._encoder: Encoder | None = None
        self._shares = config.distribution == "share" and len(config.servers) > 1

    def wire(self, context: Context) -> None:
        """Learn the node's name, and which label tells calls apart."""
        self._call_labels = context.call_labels
        self._node = self._node or context.hostname

    async def start(self) -> None:
        """Read key and certificates, and try to connect. Raises PluginInitFailed for files that cannot be used."""
        config = self._config
        key = ""
        if config.key_file:
            try:
                key = read_secret(config.key_file)
            except (OSError, ValueError) as error:
                raise PluginInitFailed(f"hep: key_file: {error}") from None
        self._encoder = Encoder(config, self._node.encode(), key.encode(), self._call_labels)
        try:
            context = client_tls(config.tls) if config.transport == "tls" else None
        except ValueError as error:
            raise PluginInitFailed(f"hep: tls: {error}") from None
        for address in config.servers:
            udp = config.transport == "udp"
            self._servers.append(DatagramServer(address, config) if udp else StreamServer(address, config, context))
        for server in self._servers if self._shares else self._servers[:1]:
            with suppress(UnicodeError):
                try:
                    await server.open()
                except OSError as error:
                    server.note(error)

    async def stop(self) -> None:
        """Close all connections."""
        servers, self._servers = self._servers, []
        for server in servers:
            await server.close()

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        """Send one batch; gives what became of each message."""
        if self._encoder is None or not self._servers:
            return ReportResult(0, retry={"unavailable": len(batch)} if batch else {})
        failed: Failures = {}
        waiting: list[int] = []
        for start, places in self._share_out(batch):
            part = batch if len(places) == len(batch) else [batch[place] for place in places]
            packets = self._encoder.encode(part)
            for reason, own in packets.failed.items():
                failed.setdefault(reason, []).extend(places[place] for place in own)
            waiting += [places[place] for place in await self._send(packets, start, failed, places)]
        lost = sum(map(len, failed.values()))
        final: Failures = {reason: failed.pop(reason) for reason in FINAL if reason in failed}
        retry = {"unavailable": waiting} if waiting else {}
        return ReportResult(len(batch) - lost - len(waiting), failed, retry=retry, final=final)

    def _share_out(self, batch: Sequence[OutputPacket]) -> Iterator[tuple[int, Sequence[int]]]:
        """Give the places of the messages that begin with each server."""
        if not self._shares:
            yield 0, range(len(batch))
            return
        groups: dict[int, list[int]] = {}
        for place, output in enumerate(batch):
            groups.setdefault(self._share_of(output), []).append(place)
        yield from groups.items()

    def _share_of(self, output: OutputPacket) -> int:
        """Give the server of a message: all of a call go to one, and what is in no call goes by its flow."""
        label = self._call_labels.get(output.payload_type)
        call = output.key or (output.label(label) if label else None)
        if call:
            key = call.encode("utf-8", "replace")
        else:
            src, src_port, dst, dst_port, _ = output.flow.parts() if output.flow else (b"", 0, b"", 0, 0)
            key = repr(sorted(((src, src_port), (dst, dst_port)))).encode()
        return zlib.crc32(key) % len(self._servers)

    async def _send(self, packets: Packets, start: int, failed: Failures, places: Sequence[int]) -> list[int]:
        """Send to the servers in turn; gives the places, in what was encoded, of those that nobody took."""
        first = 0
        for server in self._order(start):
            if first == len(packets):
                break
            sent = await server.deliver(packets, first)
            for number in sent.oversized:
                failed.setdefault("too_large", []).append(places[packets.places[number]])
            first += sent.count
        return packets.places[first:]

    def _order(self, start: int) -> list[Server]:
        """Give the servers to try: those that were there lately, or else the one whose time comes first."""
        servers = self._servers[start:] + self._servers[:start]
        there = [server for server in servers if not server.is_down()]
        return there or sorted(servers, key=Server.returns_at)[:1]

    def status(self) -> Mapping[str, Any]:
        """Say which servers are not there."""
        if not self._servers:
            return {}
        troubles = [server.reason for server in self._servers if server.reason]
        state = "disconnected" if len(troubles) == len(self._servers) else "connected"
        return {"state": state, "reason": "; ".join(troubles), "servers": len(self._servers)}
