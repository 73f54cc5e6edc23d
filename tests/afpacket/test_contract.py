"""The capturer ``afpacket`` keeps the contract of capturers, on a veth pair."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from otus_core.testing import packets
from otus_core.testing.contract import CapturerContract
from tests.live.net import Pair

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair(f"otusc{os.getpid() % 100_000}")
    yield made
    made.remove()


class TestAfpacket(CapturerContract):
    component = "afpacket"
    config: ClassVar = {"interface": "eth0"}
    missing: ClassVar = {"interface": "nowhere0"}
    frames = 200

    @pytest.fixture(autouse=True)
    def _wire(self, pair: Pair) -> Iterator[None]:
        self.pair = pair
        yield
        pair.link("up")

    def stir(self) -> None:
        self.pair.send([packets.udp(b"%d" % n, src=f"10.5.0.{n % 250 + 1}") for n in range(self.frames)])

    def broken_off(self) -> None:
        self.pair.link("down")

    def acquire(self, shard: int, shards: int, state: dict[str, Any]) -> list[int]:
        return self.pair.inside(self.pair.near, lambda: super(TestAfpacket, self).acquire(shard, shards, state))
