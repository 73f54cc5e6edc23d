"""RTP that nobody announced: told by several packets in a row that go on as RTP does."""

from __future__ import annotations

import attrs

from otus_core import FlowKey

IN_SEQUENCE = 6
"""Packets of one SSRC whose sequence numbers follow each other."""
CANDIDATES_MAX = 4096
"""Flows that may yet turn out to be RTP: most UDP is not, and each is kept until it is known."""
STEP_MAX = 90_000 * 2
"""Of the timestamp between two packets: two seconds of video's clock."""


@attrs.define(eq=False)
class Candidate:
    """The packets of a 5-tuple that may turn out to be RTP, with their times."""

    ssrc: int
    packets: list[tuple[bytes, int]]


class Guess:
    """Candidates by 5-tuple; the oldest goes for a new one when there are too many."""

    def __init__(self) -> None:
        self._candidates: dict[FlowKey, Candidate] = {}

    def weigh(self, key: FlowKey, packet: bytes, at: int) -> list[tuple[bytes, int]]:
        """Take in a packet that has the form of RTP; gives all packets once there are enough, else none."""
        if not _plausible_type(packet[1] & 127):
            self._candidates.pop(key, None)
            return []
        ssrc = int.from_bytes(packet[8:12])
        known = self._candidates.get(key)
        if known is None or known.ssrc != ssrc or not _follows(known.packets[-1][0], packet):
            self._candidates.pop(key, None)
            if len(self._candidates) >= CANDIDATES_MAX:
                self._candidates.pop(next(iter(self._candidates)))
            self._candidates[key] = Candidate(ssrc, [(packet, at)])
            return []
        known.packets.append((packet, at))
        if len(known.packets) < IN_SEQUENCE:
            return []
        del self._candidates[key]
        return known.packets

    def held(self, key: FlowKey) -> list[tuple[bytes, int]]:
        """Let go of a 5-tuple that turned out to be RTP for another reason; gives its packets, with their times."""
        found = self._candidates.pop(key, None)
        return [] if found is None else found.packets


def _plausible_type(payload_type: int) -> bool:
    """Whether RTP has such a payload type, and RTCP does not (RFC 3551 §6, RFC 5761 §4)."""
    return payload_type < 35 or payload_type >= 96


def _follows(before: bytes, packet: bytes) -> bool:
    step = (int.from_bytes(packet[4:8]) - int.from_bytes(before[4:8])) & 0xFFFFFFFF
    number = (int.from_bytes(packet[2:4]) - int.from_bytes(before[2:4])) & 0xFFFF
    return number == 1 and step <= STEP_MAX
