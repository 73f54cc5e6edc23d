"""Media of parties behind NAT, as the kernel's own NAT makes it: found by where the parties signal from, and marked."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.live.net import Pair, Run, accounted, ip
from tests.patience import PATIENCE_S, wait
from tests.rtp.bench import rtp

pytestmark = pytest.mark.live

SIP, RTP = 5060, 4000
PACKETS = 100
BODY = "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
HEAD = (
    "{start}\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK1;rport\r\nCall-ID: nat-call\r\nCSeq: 1 INVITE\r\n"
    "From: <sip:a@x>;tag=caller\r\nTo: <sip:b@x>{tag}\r\nContent-Type: application/sdp\r\n"
    "Content-Length: {size}\r\n\r\n{body}"
)
MASQUERADE = """
table ip nat {{
    chain in {{ type nat hook prerouting priority dstnat
        iifname eth0 udp dport {sip} dnat to {inside}
        iifname eth0 udp dport 42000-42099 dnat to {inside}:{rtp}
    }}
    chain out {{ type nat hook postrouting priority srcnat
        oifname eth0 udp sport {rtp} masquerade to :41000-41099
        oifname eth0 masquerade
    }}
}}
"""


@contextmanager
def behind_nat(pair: Pair, router: str, network: str) -> Iterator[tuple[str, str]]:
    """Make a namespace behind one end of the pair, whose NAT it uses; gives its name and address."""
    home, inside = f"{router}h", f"{network}.2"
    ip("netns", "add", home)
    try:
        ip("link", "add", "lan0", "netns", router, "type", "veth", "peer", "name", "eth0", "netns", home)
        ip("-n", router, "addr", "add", f"{network}.1/24", "dev", "lan0")
        ip("-n", router, "link", "set", "lan0", "up")
        ip("-n", home, "addr", "add", f"{inside}/24", "dev", "eth0")
        ip("-n", home, "link", "set", "eth0", "up")
        ip("-n", home, "route", "add", "default", "via", f"{network}.1")
        pair.run(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        rules = MASQUERADE.format(sip=SIP, rtp=RTP, inside=inside).encode()
        done = pair.run(router, "nft", "-f", "-", input=rules)
        assert done.returncode == 0, done.stderr
        yield home, inside
    finally:
        subprocess.run(["ip", "netns", "del", home], capture_output=True, check=False)


class Phone:
    """Signals and sends media from a namespace, and says that it is where its own address is."""

    def __init__(self, pair: Pair, namespace: str, address: str) -> None:
        self.address = address
        self.sip = pair.inside(namespace, lambda: self._bound(SIP))
        self.rtp = pair.inside(namespace, lambda: self._bound(RTP))

    def _bound(self, port: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind((self.address, port))
        bound.settimeout(PATIENCE_S)
        return bound

    def message(self, start: str, tag: str = "") -> bytes:
        body = BODY.format(ip=self.address, port=RTP)
        return HEAD.format(start=start, own=self.address, tag=tag, size=len(body), body=body).encode()

    def close(self) -> None:
        self.sip.close()
        self.rtp.close()


def call(caller: Phone, called: Phone, where: tuple[str, int], media: tuple[str, int]) -> None:
    """Have one phone call another one, whose public places these are, and both talk: the one that is called sends to
    where media come from.
    """
    caller.sip.sendto(caller.message("INVITE sip:b@x SIP/2.0"), where)
    _, back = called.sip.recvfrom(4096)
    called.sip.sendto(called.message("SIP/2.0 200 OK", ";tag=called"), back)
    caller.sip.recvfrom(4096)
    for n in range(PACKETS):
        caller.rtp.sendto(rtp(n, 160 * n, ssrc=1), media)
        _, source = called.rtp.recvfrom(4096)
        called.rtp.sendto(rtp(n, 160 * n, ssrc=2), source)
        caller.rtp.recvfrom(4096)


def streams(one: Run) -> dict[int, dict[str, Any]]:
    """Wait until everything was read; gives what is told of each stream, by SSRC."""
    wait(lambda: len(one.lines()) >= 2, what="offer and answer were read")
    accounted(one.stop())
    return {int(told["payload"]["ssrc"], 16): told for told in one.outputs() if told["payload_type"] == "stream"}


def capturing(run: Any) -> Run:
    needs.tool("nft")
    one: Run = run("--parser", "sip", "--parser", "rtp", "--format", "json")
    return one


def test_one_party_behind_nat(pair: Pair, run: Any, tmp_path: Path) -> None:
    with behind_nat(pair, pair.near, "192.168.77") as (home, inside):
        caller, called = Phone(pair, home, inside), Phone(pair, pair.far, Pair.FAR)
        one = capturing(run)
        call(caller, called, (Pair.FAR, SIP), (Pair.FAR, RTP))
        found = streams(one)
        caller.close()
        called.close()
    facts = {ssrc: told["payload"] for ssrc, told in found.items()}
    assert {ssrc: (told["packets"], told["match"], told["nat"]) for ssrc, told in facts.items()} == {
        1: (PACKETS, "destination", True),
        2: (PACKETS, "source", True),
    }
    assert {told["call_id"] for told in facts.values()} == {"nat-call"}
    assert (found[1]["src_ip"], found[1]["src_port"] // 100) == (Pair.NEAR, 410), "the kernel did translate it"


def test_both_parties_behind_nat(pair: Pair, run: Any, tmp_path: Path) -> None:
    with (
        behind_nat(pair, pair.near, "192.168.77") as (home, inside),
        behind_nat(pair, pair.far, "192.168.88") as (office, desk),
    ):
        caller, called = Phone(pair, home, inside), Phone(pair, office, desk)
        one = capturing(run)
        call(caller, called, (Pair.FAR, SIP), (Pair.FAR, 42000))
        found = streams(one)
        caller.close()
        called.close()
    facts = {ssrc: told["payload"] for ssrc, told in found.items()}
    assert {ssrc: (told["packets"], told["match"], told["nat"]) for ssrc, told in facts.items()} == {
        1: (PACKETS, "nat", True),
        2: (PACKETS, "nat", True),
    }
    assert {told["call_id"] for told in facts.values()} == {"nat-call"}
    assert {told["src_ip"] for told in found.values()} == {Pair.NEAR, Pair.FAR}
