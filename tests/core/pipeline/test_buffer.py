"""A send buffer is bounded in packets and bytes, and each packet that it has no room for is counted once."""

from __future__ import annotations

import pytest

from otus_core import OutputPacket
from otus_core.model.accounts import Accounts
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.counters import Roster, counter_names

OVERHEAD = 1400
"""What an output counts beside its raw payload (buffer.pyx)."""


class Held:
    """A buffer with its counters; ``held`` is what it gives back."""

    def __init__(
        self, capacity: int = 1000, max_bytes: int = 1 << 30, waits: bool = False, spooled: bool = False
    ) -> None:
        self.accounts = Accounts(counter_names(Roster((), (), {"r": ()}), ()))
        self.buffer = SendBuffer(self.accounts, "r", capacity, max_bytes, waits, spooled)

    def offer(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.buffer.offer(OutputPacket(raw_payload=payload))

    def held(self) -> list[bytes]:
        return [output.raw_payload for output in self.buffer.take(10**6)]

    def terms(self) -> tuple[int, int, int]:
        """Offered, still queued, dropped."""
        return tuple(self.accounts[f"r.{term}"] for term in ("offered", "queued", "dropped{buffer_overflow}"))  # type: ignore[return-value]


def numbered(count: int, size: int = 0) -> list[bytes]:
    return [b"%04d" % n + b"x" * size for n in range(count)]


@pytest.mark.parametrize(("spooled", "factor"), [(False, 1), (True, 2)], ids=["live", "live, with a spool"])
def test_the_oldest_go_when_the_bytes_of_a_live_buffer_are_too_many(spooled: bool, factor: int) -> None:
    """Of a hundred packets only as many stay as their bytes have room for: twice as many where a spool
    takes them soon.
    """
    payloads = numbered(100, 96)
    made = Held(max_bytes=10 * (OVERHEAD + 100), spooled=spooled)
    made.offer(*payloads)
    assert made.terms() == (100, 10 * factor, 100 - 10 * factor)
    assert made.held() == payloads[-10 * factor :]
    made.offer(*payloads[:10])  # what was taken no longer counts
    assert made.held() == payloads[:10]


def test_one_packet_that_is_larger_than_the_bound_is_kept() -> None:
    made = Held(max_bytes=OVERHEAD)
    made.offer(b"x" * 5000)
    made.offer(b"y" * 5000)
    assert made.terms() == (2, 1, 1)
    assert made.held() == [b"y" * 5000]


def test_the_oldest_go_when_a_live_buffer_holds_too_many_packets() -> None:
    made = Held(capacity=10)
    made.offer(*numbered(35))
    assert made.terms() == (35, 10, 25)
    assert made.held() == numbered(35)[-10:]


@pytest.mark.parametrize("bounds", [{"capacity": 10}, {"max_bytes": 10 * (OVERHEAD + 4)}], ids=["packets", "bytes"])
def test_a_source_that_can_wait_should_from_either_bound_on(bounds: dict[str, int]) -> None:
    made = Held(**bounds, waits=True)
    made.offer(*numbered(9))
    assert not made.buffer.full
    made.offer(b"last")
    assert made.buffer.full
    made.offer(b"more")  # another message of the packet that is under way
    assert made.terms() == (11, 11, 0)


def test_what_is_looked_at_stays() -> None:
    made = Held(capacity=4)
    made.offer(*numbered(6))
    assert [output.raw_payload for output in made.buffer.peek(2)] == numbered(6)[2:4]
    assert len(made.buffer) == 4
    assert made.held() == numbered(6)[2:]
