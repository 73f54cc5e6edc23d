"""Calls that are up when the capture ends: the same legs are found however many workers there are."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import dpkt
import pytest

from otus_core.testing import packets
from tests import needs
from tests.calls.bench import sdp
from tests.calls.commands.running import B2BUA
from tests.live.net import Pair, accounted
from tests.patience import wait

pytestmark = pytest.mark.live

WORKERS = (1, 2, 3)
SERVER = "10.99.9.9"
PAIRS = 40
ENDS_WITHIN_S = 12.0
"""A worker that stands still is replaced after three seconds; others wait as long for it at each of three stages."""
FLOWS_S = 0.5
"""Workers hear within milliseconds where media are to be expected."""


def message(
    start: str, call: str, users: tuple[str, str], *, cseq: str = "INVITE", tag: str = "", body: str = ""
) -> bytes:
    lines = [
        start if start.startswith("SIP/") else f"{start} sip:{users[1]}@b.example SIP/2.0",
        f"Via: SIP/2.0/UDP a.example;branch=z9hG4bK{call}{cseq}",
        f"From: <sip:{users[0]}@a.example>;tag=f",
        f"To: <sip:{users[1]}@b.example>{tag}",
        f"Call-ID: {call}",
        f"CSeq: {2 if cseq == 'BYE' else 1} {cseq}",
        *(["Content-Type: application/sdp"] if body else []),
    ]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def leg(n: int, side: str, *, calling: str, ends: bool) -> Iterator[bytes]:
    """One of the two calls that a B2BUA makes of one. Where it changes who calls, only the end shows that they belong
    together.
    """
    phone = f"10.99.{1 if side == 'in' else 2}.{n + 1}"
    src, dst = (phone, SERVER) if side == "in" else (SERVER, phone)
    call, users = f"{side}-{n}", (calling, f"called-{n}")

    def sent(data: bytes, *, back: bool = False) -> bytes:
        return packets.udp(data, src=dst if back else src, dst=src if back else dst, src_port=5060, dst_port=5060)

    yield sent(message("INVITE", call, users, body=sdp(src, 4000 + n)))
    yield sent(message("SIP/2.0 200 OK", call, users, tag=";tag=t", body=sdp(dst, 4000 + n)), back=True)
    yield sent(message("ACK", call, users, cseq="ACK", tag=";tag=t"))
    if ends:
        yield sent(message("BYE", call, users, cseq="BYE", tag=";tag=t"))


def made_up() -> Iterator[list[bytes]]:
    made: list[bytes] = []
    for n in range(PAIRS):
        alike = n % 2 == 0
        sides = [
            list(leg(n, side, calling=f"caller-{n if alike or side == 'in' else 'x'}", ends=not alike))
            for side in ("in", "out")
        ]
        made += [frame for both in zip(*sides, strict=True) for frame in both]
    yield made


def recorded() -> Iterator[list[bytes]]:
    """Two calls of which only the end, a moment ago, shows that they belong together, with media."""
    with (needs.corpora() / B2BUA).open("rb") as file:
        frames = [bytes(frame) for _, frame in dpkt.pcapng.Reader(file)]
    sip = [frame for frame in frames if b"SIP/2.0" in frame]
    bye = next(n for n, frame in enumerate(sip) if b"BYE sip:" in frame)
    yield sip[:bye]
    yield [frame for frame in frames if b"SIP/2.0" not in frame]
    yield sip[bye:]


def cut_short() -> Iterator[list[bytes]]:
    """A case from the field, up to the first BYE."""
    with (needs.field() / "64-b2bua-direct-media.pcap").open("rb") as file:
        frames = [bytes(frame) for _, frame in dpkt.pcap.Reader(file)]
    yield frames[: next(n for n, frame in enumerate(frames) if b"BYE sip:" in frame)]


def told(outputs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Give the legs of each call; how many milliseconds lie between them differs from one run to the next."""
    calls = [output["payload"] for output in outputs if output["payload_type"] == "call"]
    for call in calls:
        for one in call["legs"]:
            one["reasons"] = [re.sub(r"[\d.]+ ms", "N ms", reason) for reason in one["reasons"]]
    assert all(call["ended"] == "finish" for call in calls)
    return {call["call_id"]: call["legs"] for call in calls}


@pytest.mark.parametrize(("frames", "calls"), [(made_up, 2 * PAIRS), (recorded, 2), (cut_short, 2)])
def test_legs_of_calls_that_are_up_are_found_with_any_number_of_workers(
    pair: Pair, run: Any, tmp_path: Path, frames: Callable[[], Iterator[list[bytes]]], calls: int
) -> None:
    task = {
        "id": "t",
        "capture": {"type": "afpacket", "interface": "eth0"},
        "parsers": ["sip", "rtp"],
        "processors": [{"type": "calls", "config": {"consume": True}}],
        "reporters": [{"type": "console", "config": {"format": "json"}}],
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    found: list[dict[str, Any]] = []
    for workers in WORKERS:
        one = run("--task", tmp_path / "task.json", workers=workers)
        for some in frames():
            pair.send(some)
            time.sleep(FLOWS_S)
        accounted(one.stop())
        found.append(told(one.outputs()))
        assert "did_not_meet" not in one.errors()
    assert len(found[0]) == calls and all(found[0].values()), found[0]
    assert found[1] == found[0]
    assert found[2] == found[0]
    if frames is recorded:
        assert all(one["media"] == ["callee", "caller"] for (one,) in found[0].values()), found[0]


def test_a_worker_that_stands_still_holds_up_the_others_for_a_while_only(pair: Pair, run: Any, tmp_path: Path) -> None:
    one = run("-i", "eth0", "--processor", "calls", "--format", "json", workers=2)
    for some in made_up():
        pair.send(some)
    wait(lambda: len(one.outputs()) == 7 * PAIRS, what="the messages are there")
    stands_still, _ = one.children()
    os.kill(stands_still, signal.SIGSTOP)
    begun = time.monotonic()
    one.stop(status=None)
    assert time.monotonic() - begun < ENDS_WITHIN_S
    calls = [output for output in one.outputs() if output["payload_type"] == "call"]
    assert 0 < len(calls) < 2 * PAIRS
    assert "worker_died" in one.errors()
