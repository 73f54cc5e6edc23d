"""Memory under millions of Call-IDs of any length, incomplete fragments and flows: it grows to a level and stays there.

``python -m tests.hostile.plateaus`` runs all rows in full, each in a process of its own, and prints a line each;
``nox -s hostile -- plateaus`` does the same. ``python -m tests.hostile.plateaus ROW COUNT`` runs one here.
"""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import otus_sip
from otus_calls.config import CallsConfig
from otus_calls.processor import Calls
from otus_core import Context, FlowKey, FlowRegistry, OutputPacket, Record
from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.testing import packets
from otus_sip.config import SipConfig
from otus_sip.parser import SipParser
from tests.bench.generate import call
from tests.fuzz.sessions_target import Wire

FULL = {
    "calls": 5_000_000,
    "fragments": 5_000_000,
    "flows": 1_000_000,
    "endpoints": 1_000_000,
    "reported": 5_000_000,
    "up": 65_536,
}
ENDPOINTS = 32_768
"""Endpoints that the registry is to hold at most; each may take 1 KiB on average."""
STEPS = 20
LENGTHS = tuple(min(60_000, int(8 * 1.15**n)) for n in range(64))
"""Of the Call-IDs: from 8 bytes to 60 kB, most of them short."""
BEGUN = 10**18
INVITE = (
    b"INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: "
    b"<sip:a@example.com>;tag=1\r\n"
    b"To: <sip:b@example.com>\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nCall-ID: %s\r\nContent-Length: "
    b"%d\r\n\r\n%s"
)
SDP = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n"
IDENTIFICATION, SOURCE = 18, 26  # of an IPv4 header behind an Ethernet header


def calls(count: int) -> Iterator[str]:
    """Begin calls, each with a Call-ID of its own; gives what is held after each."""
    decoder = Decoder(Accounts(("frames_read", *COUNTERS)), DecoderConfig())
    parser = SipParser(SipConfig())
    wire = Wire(FlowRegistry())
    parser.wire(wire)  # type: ignore[arg-type]
    frames = [bytearray(packets.udp(INVITE % (b"x" * length, len(SDP), SDP))) for length in LENGTHS]
    ends = [frame.index(b"x\r\n") + 1 for frame in frames]
    for n in range(count):
        frame, end = frames[n % len(frames)], ends[n % len(frames)]
        frame[end - 8 : end] = b"%08x" % n  # the last bytes, which a long one does not keep
        packet = decoder.decode_one(bytes(frame), timestamp=BEGUN + n * 1000)
        assert packet is not None
        assert parser.can_handle(packet)
        parser.handle(packet)
        yield f"{parser.calls} calls"


def fragments(count: int) -> Iterator[str]:
    """Send first fragments, from many sources and from one in turn; gives what is held after each."""
    accounts = Accounts(("frames_read", *COUNTERS))
    decoder = Decoder(accounts, DecoderConfig())
    frames = [bytearray(packets.fragments(packets.udp(bytes(size)), size - size % 8, 0)[0]) for size in (64, 512, 1480)]
    for n in range(count):
        frame = frames[n % 3]
        struct.pack_into("!H", frame, IDENTIFICATION, n & 0xFFFF)
        struct.pack_into("!I", frame, SOURCE, 0x0A00_0000 + (n >> 4 if n & 1 else 0))
        assert decoder.decode_one(bytes(frame), timestamp=BEGUN + n * 1000) is None
        yield ""


def flows(count: int) -> Iterator[str]:
    """Register flows, all different, twice as many as there are to be; gives what is held after each."""
    registry = FlowRegistry()
    for n in range(2 * count):
        key = FlowKey(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", 1024 + (n >> 24), "192.0.2.1", 4000, 17)
        registry.register(key, {"call": f"c{n}"})
        yield f"{len(registry)} flows"


def endpoints(count: int) -> Iterator[str]:
    """Have callers announce endpoints, all different, with contexts of all sizes; gives what is held after each."""
    registry = FlowRegistry(ENDPOINTS)
    registry._move_clock(BEGUN)
    for n in range(count):
        ip = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
        owner = f"{n}" * (1 + n % 40)
        codecs = {number: f"codec {number} of {n}/8000" for number in range(n % 64)}
        context = {"call_id": owner, "codecs": codecs, "address": ip, "fmtp": f"{n}" * (n % 200)}
        keys = [FlowKey.endpoint(ip, 4000, 17), FlowKey.endpoint(ip, 4001, 17)]
        registry.announce(keys, context, owner)
        registry.find(keys[0])
        if n % 3 == 0:
            registry.end(owner)
        yield f"{registry.endpoint_count} endpoints"


def reported(count: int) -> Iterator[str]:
    """Begin calls that nobody ends, and follow them: each that has no room any more is one record, in the order in
    which they came. Gives what is held after each.
    """
    records: list[Record] = []
    follower = followed(records)
    told = 0
    for n in range(count):
        invite = INVITE.replace(b"sip:a@", b"sip:%d@" % n)  # else all could be legs of each other
        sdp = SDP.replace(b"192.0.2.1", b"10.%d.%d.%d" % (n >> 16 & 255, n >> 8 & 255, n & 255))
        follower.process(message(invite % (name_of(n), len(sdp), sdp), BEGUN + n * 1000))
        for record in records:
            assert record.key == name_of(told).decode()
            if told % 100_003 == 0:
                facts = json.loads(record.payload.to_json())
                assert (facts["ended"], len(facts["messages"]), facts["messages_cut"]) == ("evicted", 1, 0)
            told += 1
        records.clear()
        yield f"{follower.calls} calls, {told} records"
    assert told + sum(1 for _ in follower.finish(BEGUN + count * 1000)) == count


def up(count: int) -> Iterator[str]:
    """Have calls of five messages each under way at once, as many as are followed at a time; gives what is held after
    each.
    """
    records: list[Record] = []
    follower = followed(records)
    chance = random.Random(1)
    for n in range(count):
        for _, _, raw in islice(call(chance), 5):
            follower.process(message(raw, BEGUN + n * 1000))
        yield f"{follower.calls} calls"
    assert not records


def name_of(n: int) -> bytes:
    """Give the Call-ID of a call, of which no two are the same within the first 256 bytes."""
    return b"%08x" % n + b"x" * min(LENGTHS[n % len(LENGTHS)], 248)


def followed(records: list[Record]) -> Calls:
    """Give the processor, whose records go to a list."""
    follower = Calls(CallsConfig())
    follower.wire(
        Context(
            task_id="t",
            agent_id="a",
            emit=records.append,
            route=lambda key, message: None,
            alone=True,
            counter=lambda name: lambda n=1: None,
            call_labels={},
        )
    )
    return follower


def message(raw: bytes, at: int) -> OutputPacket:
    """Give a message as a processor gets it."""
    return OutputPacket(
        timestamp=at,
        src_ip="192.0.2.1",
        src_port=5060,
        dst_ip="192.0.2.2",
        dst_port=5060,
        payload=otus_sip.parse(raw),
        payload_type="sip",
        raw_payload=raw,
    )


ROWS: dict[str, Callable[[int], Iterator[str]]] = {
    "calls": calls,
    "fragments": fragments,
    "flows": flows,
    "endpoints": endpoints,
    "reported": reported,
    "up": up,
}


def resident() -> int:
    """Give the bytes of this process's own memory."""
    _, pages, shared, *_ = Path("/proc/self/statm").read_text().split()
    return (int(pages) - int(shared)) * os.sysconf("SC_PAGESIZE")


def measure(row: str, count: int) -> list[int]:
    """Run a row in this process; gives the memory beyond what there was before, at each step."""
    before, held = resident(), ""
    levels: list[int] = []
    total = 2 * count if row == "flows" else count
    for n, now in enumerate(ROWS[row](count), 1):
        held = now
        if n * STEPS // total > len(levels):
            levels.append(resident() - before)
    sys.stderr.write(f"{row:<10} {total:>10,}  {' '.join(f'{level / 2**20:.0f}' for level in levels)} MiB  {held}\n")
    return levels


def main(arguments: Sequence[str]) -> int:
    """Run one row here, or all of them in processes of their own."""
    if arguments:
        row, count = arguments
        levels = measure(row, int(count))
        sys.stdout.write(" ".join(map(str, levels)) + "\n")
        return 0
    command = [sys.executable, "-m", "tests.hostile.plateaus"]
    return max(subprocess.run([*command, row, str(count)], check=False).returncode for row, count in FULL.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
