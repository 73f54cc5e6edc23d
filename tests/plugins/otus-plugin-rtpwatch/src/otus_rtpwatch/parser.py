"""The parser ``rtpwatch``: takes RTP packets into their streams, and tells of each stream when it has ended."""

import struct
from collections.abc import Iterator

import otus_core
from otus_rtpwatch.stream import Stream

STREAMS_MAX = 10_000  # packets decide how many there are
HEADER = struct.Struct("!xBHII")  # RFC 3550 §5.1: marker and payload type, sequence number, timestamp, SSRC


@otus_core.configuration
class RtpwatchConfig:
    """Where RTP is expected that nobody announces, and when a stream has ended."""

    ports: tuple[int, ...] = otus_core.option(
        default=(), ge=1, le=65535, max_length=1024, help="UDP ports whose packets are RTP even if nobody says so"
    )
    silence: otus_core.Duration = otus_core.option(default=60.0, ge=1, le=86400, help="A silence that ends a stream")


class RtpwatchParser(otus_core.BaseParser):
    """Knows RTP by what was announced, or by its port."""

    tick_interval = 1.0

    def __init__(self, config: RtpwatchConfig) -> None:
        self._ports = frozenset(config.ports)
        self._silence = int(config.silence * 1e9)
        self._streams: dict[tuple[otus_core.FlowKey, int], Stream] = {}  # by flow and SSRC

    def wire(self, context: otus_core.Context) -> None:
        assert context.flows is not None  # because the declaration says wants_flows
        self._flows, self._emit, self._evicted = context.flows, context.emit, context.counter("evicted")

    def take(self, packet: otus_core.DecodedPacket) -> otus_core.Consumed | None:
        matches = self._flows.find(packet)
        if not matches and packet.dst_port not in self._ports and packet.src_port not in self._ports:
            return None
        data = packet.payload
        # Version 2, and not RTCP, whose packet types look like 64 to 95 here (RFC 5761 §4)
        if len(data) < HEADER.size or data[0] >> 6 != 2 or 64 <= data[1] & 0x7F < 96:
            return None
        second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
        key = (packet.flow, ssrc)
        stream = self._streams.get(key)
        if stream is None:
            if len(self._streams) >= STREAMS_MAX:
                self._evicted()
                self._emit(self._end(*next(iter(self._streams))))  # the one that began first
            stream = self._streams[key] = Stream(sequence, packet.timestamp)
        if matches:
            stream.codecs = matches[0].context.get("codecs", {})
            stream.calls = [match.context.get("call_id", "") for match in matches]
        stream.add(second & 0x7F, sequence, timestamp, packet.timestamp)
        return otus_core.CONSUMED

    def tick(self, now: int) -> Iterator[otus_core.Record]:
        for key in [key for key, stream in self._streams.items() if now - stream.end >= self._silence]:
            yield self._end(*key)

    def finish(self, now: int) -> Iterator[otus_core.Record]:
        while self._streams:
            yield self._end(*next(iter(self._streams)))

    def _end(self, flow: otus_core.FlowKey, ssrc: int) -> otus_core.Record:
        stream = self._streams.pop((flow, ssrc))
        codecs = [stream.codecs.get(number, str(number)) for number in sorted(stream.types)]
        labels = {"rtpwatch.ssrc": f"0x{ssrc:08X}", "rtpwatch.codec": codecs[0]}
        if stream.calls:
            labels["rtpwatch.call_id"] = stream.calls[0]
        payload = {"calls": stream.calls, "codecs": codecs, "begin": stream.begin, "end": stream.end}
        payload |= {"packets": stream.packets, "lost": stream.expected - stream.packets}  # below 0: duplicates came
        if stream.measured:
            payload["jitter_mean_ms"] = round(stream.jitter_sum / stream.measured * 1e3, 3)
            payload["jitter_max_ms"] = round(stream.jitter_max * 1e3, 3)
        key = labels.get("rtpwatch.call_id")
        return otus_core.Record("rtpwatch", payload, stream.end, labels=labels, key=key, flow=flow)
