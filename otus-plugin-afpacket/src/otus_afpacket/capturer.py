"""The capturer ``afpacket``: gives the frames of a packet socket's ring, block by block, and watches the interface
behind it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import otus_core
from otus_afpacket import kernel, program, sockets
from otus_afpacket.config import AfpacketConfig
from otus_afpacket.ring import Ring
from otus_core import CaptureError, CaptureStats, FrameBatch

EMPTY = FrameBatch(b"", b"")
LAST_FRAMES_WITHIN_S = 1.5
"""How long the kernel gets to hand over the block that it was filling."""
LOOK_EVERY_S = 0.002
"""Short against the 20 ms after which the kernel hands over a block that is not full."""


class AfpacketCapturer(otus_core.BaseCapturer):
    """Captures from one interface, or one worker's share of it.

    ``stats().received`` counts what passed the filter, drops included, as the kernel does; ``dropped`` what found no
    room in the ring, and ``excluded`` the frames of Otus's own connections. Of these the kernel puts one byte into the
    ring, by which they are known: it cannot count what a filter refuses.
    """

    rereads = True  # a block stays the reader's until it is given back, and its dead reader never does

    def __init__(self, config: AfpacketConfig) -> None:
        self._config = config
        self._sock: socket.socket | None = None
        self._ring: Ring | None = None
        self._fresh: int | None = None
        self._fresh_at = 0.0
        self._filter = b""
        self._own: tuple[program.Connection, ...] = ()
        self._taken = 0
        self._excluded = 0
        self._earlier = CaptureStats()
        self._received = 0
        self._dropped = 0
        self._drops_before: int | None = None
        self._halted_at: float | None = None

    @classmethod
    def acquire(cls, config: AfpacketConfig, shard: int, shards: int, state: dict[str, Any]) -> list[int]:
        """Open one shard's socket. Raises CaptureError, OSError and BpfInvalid."""
        return sockets.acquire(config, shard, shards, state)

    def resume(self, taken: int, stats: CaptureStats) -> None:
        """Go on in the ring where the worker that died stopped."""
        self._taken = taken
        self._earlier = stats
        self._excluded = stats.excluded

    def open(self, shard: int = 0, shards: int = 1, fds: Sequence[int] = ()) -> None:
        """Map the ring of the socket that ``acquire`` opened. Raises CaptureError."""
        self._drops_before = kernel.interface_drops(self._config.interface) if shard == 0 else None
        self._use(fds)

    def _use(self, fds: Sequence[int]) -> None:
        config = self._config
        try:
            (descriptor,) = fds
            sock = socket.socket(fileno=descriptor)
            cooked = sockets.is_cooked(sock)
            shape = (config.block_size, config.block_count)
            self._ring = Ring(descriptor, *shape, cooked=cooked, taken=self._taken, excluded=self._excluded)
            self._filter = program.remove_mark(kernel.read_filter(sock))  # a worker that died has left its own
        except (OSError, ValueError) as error:
            raise CaptureError(config.interface, f"cannot use the packet socket: {error}") from None
        self._sock = sock
        if self._own:  # else what a worker that died had left out stays so until we are told
            self._leave_out()

    def read(self) -> FrameBatch | None:
        """Give the next block's frames; after ``halt``, ``None`` when there are no more."""
        if self._ring is None or self._sock is None:
            return EMPTY
        batch = self._read_ring(self._ring)
        if batch is not None:
            return batch
        if self._halted_at is not None:
            return self._last(self._ring, self._halted_at)
        # The old ring first: frames that came before the interface went are still in it.
        if self._fresh is not None and self._is_drained(self._fresh_at):
            self._change()
        else:  # takes ENETDOWN away: until then the socket is "readable"
            self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return EMPTY

    def _read_ring(self, ring: Ring) -> FrameBatch | None:
        batch = ring.read()
        self._taken, self._excluded = ring.given, ring.excluded
        return batch

    def _last(self, ring: Ring, since: float) -> FrameBatch | None:
        """Wait for the block that the kernel is filling: it hands it over within ``block_timeout_ms``."""
        while True:
            time.sleep(LOOK_EVERY_S)
            batch = self._read_ring(ring)
            if batch is not None:
                return batch
            if self._is_drained(since):
                return None

    def _is_drained(self, since: float) -> bool:
        """Whether everything that the kernel counted has been given, or there was time enough for it."""
        self._count()
        given = self._earlier.received + self._received - self._earlier.dropped - self._dropped
        held = given - self._taken - self._excluded
        return held <= 0 or time.monotonic() - since > LAST_FRAMES_WITHIN_S

    def fileno(self) -> int | None:
        """Give the socket, which is readable when a block is there."""
        return self._sock.fileno() if self._sock is not None else None

    def trouble(self) -> str:
        """Say when the interface is gone, or down."""
        interface = self._config.interface
        if self._sock is None or interface == sockets.ANY:
            return ""
        if self._is_deaf(self._sock):
            return f"{interface}: the interface is gone"
        try:
            flags = kernel.interface_flags(self._sock, interface)
        except OSError:
            return f"{interface}: the interface is gone"
        if not flags & kernel.IFF_UP:
            return f"{interface}: the interface is down"
        return "" if flags & kernel.IFF_RUNNING else f"{interface}: the link is down"

    def _is_deaf(self, sock: socket.socket) -> bool:
        """Whether the interface that the socket was bound to is gone.

        One made again under that name has another index.
        """
        return self._config.interface != sockets.ANY and sock.getsockname()[0] != self._config.interface

    def wants_descriptors(self) -> bool:
        """Say whether a new socket is needed, because the interface was deleted."""
        return self._sock is not None and self._fresh is None and self._halted_at is None and self._is_deaf(self._sock)

    def reopen(self, fds: Sequence[int]) -> None:
        """Go on with a new socket, once the old one's ring is empty. Raises CaptureError."""
        if len(fds) != 1:
            raise CaptureError(self._config.interface, f"one descriptor is needed, {len(fds)} came")
        self._fresh, self._fresh_at = fds[0], time.monotonic()

    def _change(self) -> None:
        assert self._sock is not None and self._fresh is not None
        self._sock.close()
        self._sock = self._ring = None
        fresh, self._fresh = self._fresh, None
        self._use([fresh])

    def exclude(self, connections: Sequence[program.Connection]) -> None:
        """Leave out these TCP connections, which are Otus's own."""
        self._own = tuple(sorted(set(connections)))[: program.CONNECTIONS_MAX]
        self._leave_out()

    def _leave_out(self) -> None:
        if self._sock is None or self._halted_at is not None or not self._config.exclude_own:
            return
        own = self._own
        while True:
            guard = program.connections_guard(own, sockets.filtered_link_type(self._sock))
            try:
                kernel.attach(self._sock, program.put_mark_behind(self._filter, guard))
                return
            except OSError:  # ENOMEM, EINVAL: longer than this kernel allows
                if not own:
                    raise
                own = own[: len(own) // 2]

    def halt(self) -> None:
        """Let the kernel put nothing more into the ring."""
        if self._sock is not None and self._halted_at is None:
            kernel.attach(self._sock, program.NOTHING)
            self._halted_at = time.monotonic()

    def stats(self) -> CaptureStats:
        """Totals since ``open``; only the first shard counts what the interface dropped."""
        self._count()
        lost = 0
        if self._drops_before is not None:
            lost = max(0, kernel.interface_drops(self._config.interface) - self._drops_before)
        return CaptureStats(self._received, self._dropped, lost, self._excluded - self._earlier.excluded)

    def _count(self) -> None:
        if self._sock is not None:
            packets, drops = kernel.take_statistics(self._sock)  # reading clears them
            self._received += packets
            self._dropped += drops

    def close(self) -> None:
        """Close the socket; the ring goes when the last batch does."""
        self._ring = None
        if self._fresh is not None:
            os.close(self._fresh)
            self._fresh = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None
