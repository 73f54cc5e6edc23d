"""Decodes single frames outside of a pipeline: for commands of plugins that look at captured frames themselves."""

from __future__ import annotations

from collections.abc import Iterable

from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.model.packet import DecodedPacket


class FrameDecoder:
    """Decodes frames, one at a time, as a task does: with these ``tunnels``, and with fragments put together or apart.

    With ``reassemble``, the fragment that completes a datagram gives it whole, and those before it give ``None``.
    Without, each fragment is a packet of its own: the first with its ports, the others without a ``transport``.
    """

    def __init__(self, *, tunnels: Iterable[str] = (), reassemble: bool = True) -> None:
        options = DecoderConfig(tunnels=tuple(tunnels), ip_reassembly=reassemble)
        self._decoder = Decoder(Accounts(COUNTERS), options)

    def decode(self, frame: bytes, timestamp: int, link_type: int, orig_len: int) -> DecodedPacket | None:
        """Give the packet in a frame, captured at ``timestamp`` (ns); ``None`` where there is none, or not yet."""
        return self._decoder.decode_one(frame, timestamp=timestamp, link_type=link_type, orig_len=orig_len)
