"""One RTP stream: packets of one SSRC from one address and port to another (RFC 3550 §3)."""

from collections.abc import Mapping

# Clock rates of static payload types other than 8,000 Hz (RFC 3551 §6); G.722 has 8,000 by a mistake (§4.5.2).
RATES = {6: 16_000, 10: 44_100, 11: 44_100, 14: 90_000, 16: 11_025, 17: 22_050, **dict.fromkeys(range(25, 35), 90_000)}
COMFORT_NOISE, DYNAMIC = 13, 35  # from 35 on only the session description says what a payload type is
MAX_DROPOUT, MAX_MISORDER = 3000, 100  # RFC 3550 A.1: what is further ahead or behind is a restart of the sender


class Stream:
    """Counts packets, loss (RFC 3550 A.3) and jitter (A.8). Times are in ns, jitter is in seconds."""

    def __init__(self, sequence: int, now: int) -> None:
        self.begin = self.end = now
        self.packets = self.expected = self.measured = 0
        self.jitter = self.jitter_max = self.jitter_sum = 0.0
        self.types: set[int] = set()
        self.codecs: Mapping[int, str] = {}
        self.calls: list[str] = []
        self._highest = (sequence - 1) & 0xFFFF
        self._last: tuple[int, int] | None = None

    def add(self, payload_type: int, sequence: int, timestamp: int, now: int) -> None:
        self.packets += 1
        self.end = now
        self.types.add(payload_type)
        ahead = (sequence - self._highest) & 0xFFFF
        if ahead <= 0x10000 - MAX_MISORDER:  # neither late nor a duplicate
            self.expected += ahead if ahead < MAX_DROPOUT else 1
            self._highest = sequence
        if rate := self._rate(payload_type):
            self._measure(timestamp, now, rate)

    def _rate(self, payload_type: int) -> int:
        """Give ticks per second; 0 if nobody said, or if timestamps do not advance with time (RFC 4733 §2.2)."""
        name, rate, *_ = [*self.codecs.get(payload_type, "").split("/"), ""]
        if payload_type == COMFORT_NOISE or name.lower() in ("cn", "telephone-event"):
            return 0
        static = RATES.get(payload_type, 8_000) if payload_type < DYNAMIC else 0
        return int(rate) if rate.isdecimal() else static

    def _measure(self, timestamp: int, now: int, rate: int) -> None:
        if self._last is not None:
            ticks = ((timestamp - self._last[0] + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)  # timestamps wrap
            self.jitter += (abs((now - self._last[1]) / 1e9 - ticks / rate) - self.jitter) / 16
            self.jitter_max = max(self.jitter_max, self.jitter)
            self.jitter_sum += self.jitter
            self.measured += 1
        self._last = (timestamp, now)
