"""A wire that loses, repeats, delays and swaps packets, and counts exactly what it did: between two veth pairs, in user
space, with a seeded generator. Kernels without netem have it too, and netem does not say which packets it met.
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import threading
import time
from itertools import count

import attrs

MTU = 2048
UDP, SSRC_AT = 17, 42 + 8
"""Bytes of Ethernet, IPv4 and UDP headers, and of RTP before the SSRC."""
PACKET_OUTGOING = 4


@attrs.frozen(kw_only=True)
class Impairment:
    """Which share of the RTP packets meets what; ``jitter`` are seconds by which each may be late, and ``delay`` those
    by which every frame is.
    """

    loss: float = 0.0
    duplicates: float = 0.0
    reordering: float = 0.0
    jitter: float = 0.0
    delay: float = 0.0


@attrs.define(eq=False)
class Done:
    """What was done to one stream."""

    sent: list[int] = attrs.field(factory=list)
    """Sequence numbers as they were passed on, in that order."""
    lost: list[int] = attrs.field(factory=list)
    seen: int = 0


class Relay:
    """Passes frames between two sockets until ``close``; everything but RTP unharmed."""

    def __init__(self, ends: tuple[socket.socket, socket.socket], impairment: Impairment, seed: int) -> None:
        self._ends = ends
        self._impairment = impairment
        self._chance = random.Random(seed)
        self._due: list[tuple[float, int, int, bytes]] = []
        self._held: dict[tuple[int, int], bytes] = {}
        self._numbers = count()
        self.done: dict[tuple[int, int], Done] = {}
        """By the end that it went to and the SSRC: some telephones all have the same."""
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Pass on what is still held, and end."""
        self._stops.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stops.is_set() or self._due:
            until = self._due[0][0] - time.monotonic() if self._due else 0.05
            ready, _, _ = select.select(self._ends, [], [], max(0.0, min(until, 0.05)))
            for end in ready:
                frame, (_, _, kind, *_) = end.recvfrom(MTU)
                if kind != PACKET_OUTGOING:  # our own frames are heard too
                    self._take(summed(frame), 1 - self._ends.index(end))
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, to, frame = heapq.heappop(self._due)
                self._send(frame, to)
        for (to, _), frame in self._held.items():
            self._send(frame, to)

    def _take(self, frame: bytes, to: int) -> None:
        if not is_rtp(frame):
            self._pass_on(frame, to)
            return
        stream = to, int.from_bytes(frame[SSRC_AT : SSRC_AT + 4])
        done = self.done.setdefault(stream, Done())
        done.seen += 1
        if done.seen > 1 and self._chance.random() < self._impairment.loss:  # a stream begins with its first packet
            done.lost.append(sequence(frame))
            return
        if stream in self._held:  # the one before waits for this one
            self._pass_on(frame, to)
            self._pass_on(self._held.pop(stream), to)
        elif done.seen > 1 and self._chance.random() < self._impairment.reordering:
            self._held[stream] = frame
        else:
            self._pass_on(frame, to, self._chance.uniform(0, self._impairment.jitter))

    def _pass_on(self, frame: bytes, to: int, late: float = 0.0) -> None:
        if late or self._impairment.delay:
            at = time.monotonic() + self._impairment.delay + late
            heapq.heappush(self._due, (at, next(self._numbers), to, frame))
        else:
            self._send(frame, to)

    def _send(self, frame: bytes, to: int) -> None:
        self._ends[to].send(frame)
        if not is_rtp(frame):
            return
        done = self.done[to, int.from_bytes(frame[SSRC_AT : SSRC_AT + 4])]
        done.sent.append(sequence(frame))
        if self._chance.random() < self._impairment.duplicates:
            self._ends[to].send(frame)
            done.sent.append(sequence(frame))


def summed(frame: bytes) -> bytes:
    """Leave out the checksum of UDP, which veth leaves to a network card that there is not (RFC 768: 0 is none)."""
    return frame[:40] + bytes(2) + frame[42:] if _is_udp(frame) else frame


def sequence(frame: bytes) -> int:
    """Give the sequence number of an RTP packet."""
    return int.from_bytes(frame[44:46])


def is_rtp(frame: bytes) -> bool:
    """Whether a frame looks like RTP over UDP and IPv4, without options; RTCP does not (RFC 5761 §4)."""
    return _is_udp(frame) and frame[42] >> 6 == 2 and not 64 <= frame[43] & 127 <= 95


def _is_udp(frame: bytes) -> bool:
    return len(frame) >= SSRC_AT + 4 and frame[12:15] == b"\x08\x00\x45" and frame[23] == UDP
