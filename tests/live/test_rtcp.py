"""A call of two baresip through a relay that loses, delays and disturbs: what they report to each other by RTCP is what
the relay did, and what is told of it.
"""

from __future__ import annotations

import subprocess
import wave
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.live.net import Pair, accounted
from tests.live.relay import Impairment
from tests.live.test_impairment import ThroughRelay, pair
from tests.patience import PATIENCE_S, wait

__all__ = ["pair"]  # the fixture
pytestmark = [pytest.mark.live, pytest.mark.slow]

WIRE = Impairment(loss=0.05, jitter=0.02, delay=0.04)
REPORTS = 2
"""Baresip reports every five seconds; the round trip is known from the second report on."""
FIRST = 50
"""Packets, among which a receiver gets sure of its stream: it counts from the second of two in a row on (RFC 3550 A.1).
"""
OVERTAKEN = 3
"""Packets that are lost until they come, or that come behind the first one that counts, and count as received."""
TICK_MS = 1
"""baresip reckons how long a report waited (DLSR) in whole milliseconds, of which round trips are a part less."""
PATCHY_MS = 250
"""What a busy machine may add to a round trip; DLSR, which must not count, is seconds."""
MODULES = Path("/usr/lib/baresip/modules")
CONFIG = """module_path {modules}
sip_listen {address}:5060
rtp_ports {rtp}-{rtp_end}
rtcp_mux no
audio_source aufile,{folder}/sound.wav
audio_player aubridge,nobody
audio_alert aubridge,nobody
ausrc_srate 8000
auplay_srate 8000
module g711.so
module aufile.so
module aubridge.so
module_app account.so
module_app menu.so
"""


def telephone(wire: Pair, namespace: str, folder: Path, rtp: int, *commands: str) -> subprocess.Popen[bytes]:
    """Start a baresip in a namespace, which answers calls and plays silence."""
    address = Pair.NEAR if namespace == wire.near else Pair.FAR
    folder.mkdir()
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000 * 120))
    about = {"address": address, "modules": MODULES, "folder": folder, "rtp": rtp, "rtp_end": rtp + 10}
    (folder / "config").write_text(CONFIG.format(**about))
    account = f"<sip:party@{address}>;regint=0;answermode=auto;audio_codecs=PCMU/8000/1"
    (folder / "accounts").write_text(f"{account}\n")
    (folder / "contacts").touch()
    with (folder / "log").open("wb") as log:
        command = (needs.tool("baresip"), "-4", "-f", str(folder), *(w for one in commands for w in ("-e", one)))
        return wire.popen(namespace, *command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def told(outputs: list[dict[str, Any]], kind: str, src: str) -> list[dict[str, Any]]:
    return [one["payload"] for one in outputs if one["payload_type"] == kind and one["src_ip"] == src]


def blocks(outputs: list[dict[str, Any]], src: str) -> list[dict[str, Any]]:
    """Give the report blocks that came from an address, of streams that are known."""
    compounds = [packet for one in told(outputs, "rtcp", src) for packet in one["packets"]]
    return [block for packet in compounds for block in packet.get("reports", ()) if block["known"]]


def test_what_telephones_report_is_what_the_wire_did(pair: ThroughRelay, run: Any, tmp_path: Path) -> None:
    options = ("--parser", "sip", "--parser", "rtp", "--format", "json", "--bpf", "udp")
    with pair.relay(WIRE) as relay, ExitStack() as stack:
        here, there = run(*options), run(*options, namespace=pair.far)
        for namespace, name, rtp, *commands in (
            (pair.far, "called", 6000),
            (pair.near, "calling", 7000, f"/dial sip:party@{Pair.FAR}"),
        ):
            phone = telephone(pair, namespace, tmp_path / name, rtp, *commands)
            stack.callback(phone.wait, PATIENCE_S)
            stack.callback(phone.terminate)
            wait(lambda ns=namespace: b":13C4" in pair.run(ns, "cat", "/proc/net/udp").stdout, what="baresip listens")

        def reported() -> bool:
            return all(len(blocks(one.outputs(), src)) >= REPORTS
                       for one in (here, there) for src in (Pair.NEAR, Pair.FAR))  # fmt: skip

        wait(reported, what="both have reported")
    for one in (here, there):
        accounted(one.stop())
    for src, dst, to, at in ((Pair.NEAR, Pair.FAR, 1, here), (Pair.FAR, Pair.NEAR, 0, there)):
        heard = there if at is here else here
        (lost,) = [done.lost for (end, _), done in relay.done.items() if end == to]
        (sent,) = [done.sent for (end, _), done in relay.done.items() if end == to]
        assert len(lost) > 5, "nearly nothing was lost: this shows nothing"
        # What the receiver of a stream says of it, captured at the sender's end of the wire.
        (stream,) = told(at.outputs(), "stream", src)
        found = blocks(at.outputs(), dst)
        assert len(found) >= REPORTS and all(block["plausible"] for block in found)
        for block in found:
            highest = block["highest_sequence"] & 0xFFFF
            up_to_there = [number for number in lost if (highest - number) & 0xFFFF < 0x8000]
            early = [number for number in up_to_there if (number - sent[0]) & 0xFFFF < FIRST]
            assert len(up_to_there) - len(early) - OVERTAKEN <= block["lost"] <= len(up_to_there) + OVERTAKEN
        assert stream["remote"]["reports"] == len(found)
        assert stream["remote"]["lost"] == found[-1]["lost"]
        # There and back again are two delays; what a report waits for is left out by DLSR.
        assert 2000 * WIRE.delay - TICK_MS <= stream["remote"]["rtt_ms"]["last"] < 2000 * WIRE.delay + PATCHY_MS
        # Where the stream was heard, its jitter is what the receiver measured, within what so few samples spread.
        (own,) = told(heard.outputs(), "stream", src)
        assert own["lost"] >= len(lost) - OVERTAKEN
        assert own["jitter_ms"]["mean"] / 3 < stream["remote"]["jitter_ms"]["last"] < 3 * own["jitter_ms"]["max"]
