"""What the decoder's tests share: one decoder with its accounts, and the identity that must hold after every frame."""

from __future__ import annotations

import struct

import attrs

from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import TUNNELS, DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.model.packet import DecodedPacket

ALL_TUNNELS = DecoderConfig(tunnels=TUNNELS)


@attrs.define
class Bench:
    """A decoder, its counters, and how many frames it was given and units it gave."""

    accounts: Accounts
    decoder: Decoder
    frames: int = 0
    units: int = 0

    @classmethod
    def of(cls, options: DecoderConfig = ALL_TUNNELS) -> Bench:
        accounts = Accounts(COUNTERS)
        return cls(accounts, Decoder(accounts, options))

    def give(self, frame: bytes, **about: int) -> DecodedPacket | None:
        """Decode a frame; the identity must hold afterwards."""
        packet = self.decoder.decode_one(frame, **about)
        self.frames += 1
        self.units += packet is not None
        assert self.frames == self.units + sum(self.ends().values())
        return packet

    def ends(self) -> dict[str, int]:
        """Give the counters in which frames end or wait; what is hidden in them is counted beside that."""
        return {name: n for name, n in self.accounts.snapshot().items() if not name.startswith("hidden{")}

    def counted(self) -> dict[str, int]:
        """Give the counters that are not 0, by their short names."""
        counters = self.ends()
        return {name.removeprefix("dropped{").removesuffix("}"): n for name, n in counters.items() if n}


def fragment4(
    data: bytes, offset: int, more: bool, *, identification: int = 1, protocol: int = 200, options: bytes = b""
) -> bytes:
    """Give a frame with one IPv4 fragment; ``offset`` in bytes, a multiple of 8."""
    head = 20 + len(options)
    field = offset >> 3 | (0x2000 if more else 0)
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x40 | head >> 2, 0, head + len(data), identification, field, 64, protocol, 0, b"\n\0\0\1", b"\n\0\0\2",
    )  # fmt: skip
    return b"\2" * 12 + b"\x08\x00" + header + options + data


def fragment6(data: bytes, offset: int, more: bool, *, identification: int = 1, protocol: int = 200) -> bytes:
    """Give a frame with one IPv6 fragment; ``offset`` in bytes, a multiple of 8."""
    fixed = struct.pack("!IHBB", 6 << 28, 8 + len(data), 44, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    return b"\2" * 12 + b"\x86\xdd" + fixed + struct.pack("!BBHI", protocol, 0, offset | more, identification) + data


def unit(frame: bytes, options: DecoderConfig = ALL_TUNNELS, **about: int) -> DecodedPacket:
    """Give the packet of a frame that must be one, decoded on its own."""
    bench = Bench.of(options)
    packet = bench.give(frame, **about)
    assert packet is not None, bench.counted()
    return packet
