"""RTP on a live capture: two workers share it, and what one of them reads in an offer, the other knows of its media;
what the capture itself lost is not taken for the network's loss.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from otus_core.plugins.loader import load
from otus_core.task.config import load_task
from otus_core.testing import packets
from otus_core.worker.assembly import names_of
from tests.live.net import Pair, accounted, at_rest
from tests.patience import wait

pytestmark = pytest.mark.live

CALLS = 12
PACKETS = 200
BODY = "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
HEAD = (
    "{start}\r\nVia: SIP/2.0/UDP {a};branch=z9hG4bK{n}\r\nCall-ID: call-{n}\r\nCSeq: 1 INVITE\r\n"
    "From: <sip:a@x>;tag=f{n}\r\nTo: <sip:b@x>{tag}\r\nContent-Type: application/sdp\r\n"
    "Content-Length: {size}\r\n\r\n{body}"
)


def ends(n: int) -> tuple[str, str]:
    return f"10.99.{n + 2}.1", f"10.99.{n + 2}.2"


def signalling(n: int) -> list[bytes]:
    """An INVITE and its 200, both with a description: caller's port 4000, callee's port 5000."""
    a, b = ends(n)
    offer, answer = BODY.format(ip=a, port=4000), BODY.format(ip=b, port=5000)
    start = "INVITE sip:b@x SIP/2.0"
    invite = HEAD.format(start=start, a=a, n=n, tag="", size=len(offer), body=offer)
    ok = HEAD.format(start="SIP/2.0 200 OK", a=a, n=n, tag=f";tag=t{n}", size=len(answer), body=answer)
    return [packets.udp(invite.encode(), src=a, dst=b), packets.udp(ok.encode(), src=b, dst=a)]


def media(n: int, lost: int) -> list[bytes]:
    """Both directions of a call, of which every ``lost``-th packet is missing."""
    a, b = ends(n)
    frames = []
    for sequence in range(PACKETS):
        if sequence % lost == lost - 1 and sequence < PACKETS - 1:
            continue
        for src, dst, src_port, dst_port, ssrc in ((a, b, 4000, 5000, 2 * n), (b, a, 5000, 4000, 2 * n + 1)):
            head = struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, ssrc)
            frames.append(packets.udp(head + bytes(160), src=src, dst=dst, src_port=src_port, dst_port=dst_port))
    return frames


def figures(supervisor: int, task: dict[str, Any], name: str) -> list[int]:
    """Give one counter of each worker, from the memory that they share with their supervisor."""
    names = names_of(load_task({**task, "workers": 2}, load()))
    block = -(-8 * len(names) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = next(fd for fd in Path(f"/proc/{supervisor}/fd").iterdir() if "memfd:otus-run" in os.readlink(fd))
    data = memory.read_bytes()
    return [int.from_bytes(data[at : at + 8], "little") for at in (8 * names.index(name) + n * block for n in (0, 1))]


def test_each_stream_finds_its_call_and_its_loss_is_counted(pair: Pair, run: Any, tmp_path: Path) -> None:
    task = {
        "id": "t",
        "capture": {"type": "afpacket", "interface": "eth0", "bpf_filter": "udp and net 10.99.0.0/16"},
        "parsers": ["sip", "rtp"],
        "reporters": [{"type": "console", "config": {"format": "json"}}],
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    one = run("--task", tmp_path / "task.json", workers=2)
    pair.send([frame for n in range(CALLS) for frame in signalling(n)])
    wait(lambda: len(one.outputs()) == 2 * CALLS, what="all offers and answers were read")
    # Media of real calls begins later than siblings hear of its announcement. Each description has a port for RTP and
    # one for RTCP.
    wait(lambda: figures(one.process.pid, task, "endpoints") == [4 * CALLS] * 2, what="both workers know all calls")
    for n in range(CALLS):
        pair.send(media(n, 10 + n))
    summary = one.stop()
    accounted(summary)
    streams = [output for output in one.outputs() if output["payload_type"] == "stream"]
    assert {output["pipeline_id"] for output in streams} == {0, 1}, "one worker had all: this shows nothing"
    told = {int(one["payload"]["ssrc"], 16): one["payload"] for one in streams}
    assert len(streams) == len(told) == 2 * CALLS
    for n in range(CALLS):
        missing = sum(1 for at in range(PACKETS - 1) if at % (10 + n) == 9 + n)
        for ssrc in (2 * n, 2 * n + 1):
            found = told[ssrc]
            assert (found["call_id"], found["match"]) == (f"call-{n}", "both"), found
            assert (found["packets"], found["lost"]) == (PACKETS - missing, missing), found
    assert summary["consumed"] == {"parser:rtp": sum(found["packets"] for found in told.values())}
    assert summary["dropped"] == {}


def test_what_the_capture_lost_is_not_the_networks_loss(pair: Pair, run: Any, tmp_path: Path) -> None:
    capture = {"type": "afpacket", "interface": "eth0", "block_size": 131072, "block_count": 4}
    reporters = [{"type": "console", "config": {"format": "json"}}]
    task = {"id": "t", "capture": capture, "parsers": ["sip", "rtp"], "reporters": reporters}
    (tmp_path / "task.json").write_text(json.dumps(task))
    one = run("--task", tmp_path / "task.json")
    (worker,) = one.rings()
    pair.send(signalling(0) + signalling(1) + media(0, 10))
    wait(lambda: len(one.outputs()) == 4, what="all offers and answers were read")
    time.sleep(3)  # the first call's packets are older than anything that is lost now
    os.kill(worker, signal.SIGSTOP)
    unbroken = media(1, PACKETS + 1)
    pair.send(unbroken[:100] + 4000 * [packets.udp(b"x" * 800, src="10.99.0.9")] + unbroken[100:])
    with contextlib.suppress(ProcessLookupError):  # a machine that stood still has had it killed, as hung
        os.kill(worker, signal.SIGCONT)
    wait(one.rings, what="the worker goes on")
    at_rest(*one.rings())
    pair.send(media(1, PACKETS + 1)[-2:])  # the last of each direction, so that what is missing before them is seen
    summary = one.stop()
    accounted(summary)
    assert summary["kernel_drop"] > 0
    told = {output["payload"]["call_id"]: output["payload"] for output in one.outputs() if "ssrc" in output["payload"]}
    assert (told["call-0"]["lost"] > 0, told["call-0"]["capture_loss"], told["call-0"]["mos"] is None) == (
        True,
        False,
        False,
    )
    assert (told["call-1"]["lost"] > 0, told["call-1"]["capture_loss"], told["call-1"]["mos"]) == (True, True, None)
