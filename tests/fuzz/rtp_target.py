"""Fuzz target: a call, and datagrams to its ports: RTP, RTCP, and what is neither.

Two bytes before each datagram say how long it is, one says from which end to which it goes and how much later. Nothing
but ParseError is raised, every packet is counted once, and what is told is JSON.

``python -m tests.fuzz.rtp_target`` runs seeds and mutations; with ``--fuzz`` and atheris installed it fuzzes.
"""

from __future__ import annotations

import json
import random
from typing import Any

from otus_core import CONSUMED, ParseError
from tests.fuzz.harness import run
from tests.rtp.bench import CALLED, CALLER, MS, Bench, rtp
from tests.rtp.test_rtcp import block, receiver_report, sender_report, voip_metrics

PORTS = (CALLER, CALLED, (CALLER[0], CALLER[1] + 1), (CALLED[0], CALLED[1] + 1))
DATAGRAMS_MAX = 256


def one_input(data: bytes) -> None:
    """Feed the datagrams, have the parser tick now and then, and read what it tells."""
    bench = Bench(max_streams=8, interval=1, guess=True, packets=len(data) % 2 == 1)
    bench.call()
    at = taken = n = 0
    told: list[dict[str, Any]] = []
    while len(data) > 3 and n < DATAGRAMS_MAX:
        size, how = int.from_bytes(data[:2]) % 1500, data[2]
        datagram, data, n = data[3 : 3 + size], data[3 + size :], n + 1
        at += (how >> 4) * 10 * MS
        try:
            result = bench.feed(datagram, at, PORTS[how & 3], PORTS[(how >> 2) & 3])
        except ParseError:
            continue
        if result is CONSUMED:
            taken += 1
        elif result is not None:
            taken += result.payload_type == "rtp"
            json.loads(result.payload.to_json())
            assert result.payload.to_text()
            assert all(result.labels.values())
        if how == 0xFF:
            told += bench.tick(at)
    told += bench.end()
    json.loads(json.dumps(told, allow_nan=False))
    ended = [one for one in told if one["ended"] and one["match"] != "guess"]
    assert sum(one["packets"] + one["duplicates"] + one["strays"] for one in ended) <= taken
    assert all(0 <= one["lost"] == one["expected"] - one["packets"] for one in told)


def seeds() -> list[bytes]:
    """Give regular streams with loss, events, and RTCP."""
    chance = random.Random(1)
    found = []
    for kind in (0, 13, 101, 97):
        datagrams = []
        for n in range(60):
            if chance.random() < 0.9:
                payload = b"\x05\x8a\x01\x40" if kind == 101 else b"\xff" * 20
                datagrams.append((0x24, rtp(n * 3 // 2 if n > 40 else n, n * 160, payload_type=kind, payload=payload)))
            if n % 20 == 19:
                datagrams.append((0x0E, sender_report()))
                datagrams.append((0x0B, receiver_report(block()) + voip_metrics()))
                datagrams.append((0xFF, b"\x80"))
        found.append(b"".join(len(one).to_bytes(2) + bytes((how,)) + one for how, one in datagrams))
    return found


if __name__ == "__main__":
    run(one_input, seeds())
