"""Calls of sipp whose media a relay loses, repeats, delays and swaps: what is measured is what the relay did, packet by
packet, in both directions.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.live.net import Pair, Run, accounted, ip
from tests.live.relay import Done, Impairment, Relay
from tests.patience import PATIENCE_S, wait

pytestmark = [pytest.mark.live, pytest.mark.slow]

SEED = 3550
BAD = Impairment(loss=0.08, duplicates=0.05, reordering=0.05)
SOUND = Path("/usr/share/sip-tester/g711a.pcap")
PLAY = '<nop><action><exec play_pcap_audio="sound.pcap"/></action></nop><pause milliseconds="9000"/>'


class ThroughRelay(Pair):
    """A pair whose wire goes through a third namespace, where a relay passes frames on."""

    def connect(self) -> None:
        self.middle = f"{self.near}m"
        ip("netns", "add", self.middle)
        for namespace, there, mac in zip(self.ends(), ("a0", "b0"), self.MACS, strict=True):
            made = ("eth0", "address", mac, "netns", namespace)
            ip("link", "add", *made, "type", "veth", "peer", "name", there, "netns", self.middle)
            self.run(self.middle, "sysctl", "-qw", f"net.ipv6.conf.{there}.disable_ipv6=1")
            ip("-n", self.middle, "link", "set", there, "up")
        self.address()

    def sockets(self) -> tuple[socket.socket, socket.socket]:
        """Give the relay's ends of both wires: near, far."""

        def bound(name: str) -> Callable[[], socket.socket]:
            def make() -> socket.socket:
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                sock.bind((name, 0))
                return sock

            return make

        return self.inside(self.middle, bound("a0")), self.inside(self.middle, bound("b0"))

    @contextmanager
    def relay(self, impairment: Impairment) -> Iterator[Relay]:
        """Pass frames on, impaired, for a time."""
        with ExitStack() as stack:
            ends = self.sockets()
            for end in ends:
                stack.callback(end.close)
            relay = Relay(ends, impairment, SEED)
            stack.callback(relay.close)
            yield relay

    def remove(self) -> None:
        super().remove()
        subprocess.run(["ip", "netns", "del", self.middle], capture_output=True, check=False)


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[ThroughRelay]:
    made = ThroughRelay(f"otusi{time.monotonic_ns() % 100_000}")
    yield made
    made.remove()


def scenario(name: str, folder: Path) -> Path:
    """Give sipp's own scenario, with media played once the call is there, by both sides."""
    told = subprocess.run([needs.tool("sipp"), "-sd", name], capture_output=True, text=True, check=False)
    text = told.stdout[told.stdout.index("<?xml") :]
    if name == "uas":
        begin = text.index('<recv request="ACK"')
        at = text.index("</recv>", begin) + len("</recv>")
        text = text[:begin] + '<recv request="ACK"></recv>' + PLAY + text[at:]
    else:
        begin = text.index("<nop>")
        text = text[:begin] + PLAY + text[text.index("<send", begin) :]
    path = folder / f"{name}.xml"
    path.write_text(text)
    return path


def call(pair: ThroughRelay, folder: Path) -> None:
    """Have a sipp in the near namespace call one in the far one, and both play sound."""
    shutil.copy(SOUND, folder / "sound.pcap")
    common = ("-m", "1", "-nostdin", "-timeout", "60s", "-timeout_error", "-trace_err")
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    uas = ("sipp", "-sf", scenario("uas", folder), "-i", Pair.FAR, "-p", "5060", "-mp", "6000", *common)
    uac = ("sipp", "-sf", scenario("uac_pcap", folder), "-i", Pair.NEAR, "-mp", "7000", *common, f"{Pair.FAR}:5060")
    answering = pair.popen(pair.far, *uas, **quiet)
    try:
        wait(lambda: b":13C4" in pair.run(pair.far, "cat", "/proc/net/udp").stdout, what="sipp answers")
        calling = pair.popen(pair.near, *uac, **quiet)
        try:
            assert calling.wait(timeout=2 * PATIENCE_S) == 0
        finally:
            calling.kill()
    finally:
        answering.kill()
        answering.wait()


def what_was_done(done: Done) -> dict[str, int]:
    """Say what a monitor has to find in a stream, by the order in which the relay passed it on."""
    top, seen, reordered = done.sent[0], {done.sent[0]}, 0
    for number in done.sent[1:]:
        if number not in seen and number < top:
            reordered += 1
        seen.add(number)
        top = max(top, number)
    expected = top - min(seen) + 1
    return {
        "packets": len(seen),
        "expected": expected,
        "lost": expected - len(seen),
        "duplicates": len(done.sent) - len(seen),
        "reordered": reordered,
    }


def streams(one: Run, src: str) -> dict[str, Any]:
    """End a run; gives what is told of the one stream from an address."""
    accounted(one.stop())
    (found,) = [told["payload"] for told in one.outputs() if told["payload_type"] == "stream" and told["src_ip"] == src]
    return dict(found)


@pytest.mark.parametrize("impairment", [BAD, Impairment(loss=0.03, jitter=0.05)], ids=["losses", "jitter"])
def test_what_is_measured_is_what_the_wire_did(
    pair: ThroughRelay, run: Any, tmp_path: Path, impairment: Impairment
) -> None:
    if not SOUND.exists():
        needs.lacking(f"{SOUND} is not there (package sip-tester)")
    options = ("--parser", "sip", "--parser", "rtp", "--format", "json", "--bpf", "udp")
    with pair.relay(impairment) as relay:
        here, there = run(*options), run(*options, namespace=pair.far)
        call(pair, tmp_path)
    came, went = streams(here, Pair.FAR), streams(there, Pair.NEAR)
    for found, to in ((came, 0), (went, 1)):
        (done,) = [done for (end, _), done in relay.done.items() if end == to]
        told = what_was_done(done)
        assert {name: found[name] for name in told} == told
        assert found["call_id"] and found["match"] == "both"
        assert told["lost"] <= len(done.lost)
        assert done.lost, "nothing was lost: this shows nothing"
    if impairment.jitter:  # evenly spread over 0 to 50 ms: two such arrivals differ by a third of that on average
        assert came["jitter_ms"]["mean"] == pytest.approx(50 / 3, rel=0.35)
    else:
        assert all(
            what_was_done(done)["duplicates"] and what_was_done(done)["reordered"] for done in relay.done.values()
        )
