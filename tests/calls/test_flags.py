"""Each flag of a call, from packets: captures in which one thing is wrong, or odd, and one in which nothing is."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import dpkt
import pytest

from otus_core.testing import packets
from tests.calls.commands.running import otus

BEGUN = 1_771_669_800.0
CALLER, CALLEE = "192.0.2.1", "198.51.100.2"
STEP = 0.02
"""Seconds of a packet of media."""

Frame = tuple[float, str, bytes]


@attrs.frozen(kw_only=True)
class Talk:
    """A call of ``length`` seconds; its answer comes at 0. ``sent`` says by whom there are media, from when to when."""

    call_id: str = "one"
    tag: str = "f"
    number: int = 0
    length: float = 6.0
    waits: float = 1.0
    ends: tuple[str, str] = (CALLER, CALLEE)
    sent: dict[str, tuple[float, float]] = attrs.field(factory=lambda: {CALLER: (0.1, 6.0), CALLEE: (0.1, 6.0)})
    payload_type: int = 8
    hold: bool = False
    said: str = CALLER
    repeat: tuple[str, ...] = ()
    bye: bool = True
    ack: bool = True
    twice: bool = False
    code: int = 200
    expires: int = 0
    info: float = 0.0
    refused: int = 0
    body: str = ""
    unreachable: bool = False
    seen: str = ""

    def frames(self) -> Iterator[Frame]:
        """Give the frames with their times and senders."""
        for at, source, frame in self._signalling():
            yield at, source, frame
            if self.twice:
                yield at + 0.001, source, frame
        for source, (begin, end) in self.sent.items():
            way = self._way(source)
            ports = {"src_port": self._port(source), "dst_port": self._port(CALLEE if source == CALLER else CALLER)}
            for n in range(int((end - begin) / STEP)):
                header = struct.pack("!BBHII", 128, self.payload_type, n & 0xFFFF, n * 160, self._port(source))
                yield begin + n * STEP, source, packets.udp(header + b"\xd5" * 160, **way, **ports)  # type: ignore[arg-type]

    def _port(self, source: str) -> int:
        return (4000 if source == CALLER else 6000) + 2 * self.number

    def _way(self, source: str) -> dict[str, str]:
        one, other = self.ends if source == CALLER else self.ends[::-1]
        return {"src": one, "dst": other}

    def _signalling(self) -> Iterator[Frame]:
        for n in range(self.refused):
            yield self._message(-5.0 + n, "INVITE", CALLER, cseq=n - 5, more="Authorization: Digest a=b")
            yield self._message(-4.9 + n, "INVITE", CALLEE, cseq=n - 5, status="401 No")
        if self.refused:
            return
        offer = sdp(self.said, self._port(CALLER)) + self.body
        yield self._message(-self.waits, "INVITE", CALLER, body=offer)
        if "INVITE" in self.repeat:
            yield self._message(0.5 - self.waits, "INVITE", CALLER, body=offer)
        if self.unreachable:
            quoted = self._message(0.0, "INVITE", CALLER)[2][14:]
            yield -0.5, CALLEE, packets.ip(1, b"\x03\x03\0\0\0\0\0\0" + quoted, src=CALLEE, dst=CALLER)
        if self.code != 200:
            yield self._message(0.0, "INVITE", CALLEE, status=f"{self.code} No")
            return
        more = f"Session-Expires: {self.expires}" if self.expires else ""
        for n in range(1 + self.repeat.count("200")):
            answer = sdp(self.ends[1], self._port(CALLEE))
            yield self._message(n * 0.5, "INVITE", CALLEE, status="200 OK", body=answer, more=more)
        yield from self._in_call()

    def _in_call(self) -> Iterator[Frame]:
        if "CANCEL" in self.repeat:
            yield self._message(0.01, "CANCEL", CALLER)
        if self.ack:
            yield self._message(0.05, "ACK", CALLER)
        if self.hold:
            for at, source, direction in ((0.2, CALLER, "sendonly"), (0.3, CALLEE, "recvonly")):
                held = sdp(source, self._port(source), direction)
                yield self._message(
                    at, "INVITE", source, cseq=2, body=held, status="" if source == CALLER else "200 OK"
                )
        if self.info:
            yield self._message(self.info, "INFO", CALLER, cseq=4)
        if self.bye:
            yield self._message(self.length, "BYE", CALLER, cseq=3)
            yield self._message(self.length + 0.1, "BYE", CALLEE, cseq=3, status="200 OK")

    def _message(
        self, at: float, method: str, source: str, *, cseq: int = 1, status: str = "", body: str = "", more: str = ""
    ) -> Frame:
        to_tag = ";tag=t" if status or method in ("ACK", "BYE", "INFO") or cseq > 1 else ""
        lines = [
            f"SIP/2.0 {status}" if status else f"{method} sip:2@b SIP/2.0",
            f"Via: SIP/2.0/UDP h;branch=z9hG4bK{cseq}{'a' if method == 'ACK' else ''}",
            f"From: <sip:1{self.tag}@a>;tag={self.tag}",
            f"To: <sip:2{self.tag}@b>{to_tag}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq + 10} {method}",
            *filter(None, (more, "Content-Type: application/sdp" if body else "")),
            f"Content-Length: {len(body)}",
        ]
        return at, source, packets.udp("\r\n".join([*lines, "", body]).encode(), **self._way(source))  # type: ignore[arg-type]


def sdp(ip: str, port: int, direction: str = "sendrecv") -> str:
    """Give a session description with PCMA alone."""
    return (
        f"v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na={direction}\r\n"
    )


def told(path: Path, talks: dict[str, Talk]) -> dict[str, dict[str, Any]]:
    """Write a capture of calls, five minutes apart, and give what is told of them by their names."""
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n, (name, talk) in enumerate(talks.items()):
            talk = attrs.evolve(talk, call_id=name, number=n)
            for at, source, data in sorted(talk.frames()):
                if talk.seen in ("", source):
                    writer.writepkt(data, ts=BEGUN + 300 * n + at)
    return {one["call_id"]: one for one in calls_in(path)}


def calls_in(path: Path) -> list[dict[str, Any]]:
    """Give what is told of the calls in a capture; a busy machine may be warned of on standard error."""
    done = otus("calls", path, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


CASES: dict[str, tuple[Talk, set[str]]] = {
    "nothing": (Talk(), set()),
    "the callee is silent": (Talk(sent={CALLER: (0.1, 6.0)}), {"one_way:caller"}),
    "the caller is silent": (Talk(sent={CALLEE: (0.1, 6.0)}), {"one_way:callee"}),
    "music on hold": (Talk(sent={CALLER: (0.1, 6.0)}, hold=True), set()),
    "too short for silence": (Talk(sent={CALLER: (0.1, 2.5)}, length=2.5), {"short_call"}),
    "no media": (Talk(sent={}), {"no_media"}),
    "media come late": (Talk(sent={CALLER: (2.5, 6.0), CALLEE: (2.5, 6.0)}), {"late_media"}),
    "media of one come late": (Talk(sent={CALLER: (0.1, 6.0), CALLEE: (2.5, 6.0)}), set()),
    "media go on": (Talk(sent={CALLER: (0.1, 8.0), CALLEE: (0.1, 6.0)}), {"media_after_bye"}),
    "media under way at the end": (Talk(sent={CALLER: (0.1, 6.5), CALLEE: (0.1, 6.5)}), set()),
    "a codec that nobody offered": (Talk(payload_type=0), {"codec_mismatch"}),
    "behind NAT": (Talk(said="10.0.0.1", ends=("8.8.8.8", CALLEE)), {"nat"}),
    "sent again": (Talk(repeat=("INVITE",)), {"retransmissions"}),
    "no ACK": (Talk(repeat=("200",), ack=False), {"retransmissions", "ack_lost"}),
    "a late CANCEL": (Talk(repeat=("CANCEL",)), {"cancel_race"}),
    "a mirror port": (Talk(twice=True), {"captured_twice"}),
    "slow": (Talk(waits=12.0), {"slow_setup"}),
    "a loop": (Talk(code=482, sent={}), {"loop"}),
    "a large INVITE": (Talk(body="a=x\r\n" * 300), {"fragmented"}),
    "unreachable": (Talk(unreachable=True), {"icmp_unreachable"}),
    "no refresh": (Talk(expires=90, bye=False, sent={}, info=200.0), {"session_timer", "no_media"}),
    "refused twice": (Talk(refused=3, sent={}), {"auth_loop"}),
    "one side": (Talk(sent={CALLER: (0.1, 6.0)}, seen=CALLER), {"one_sided_capture"}),
}


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Give what is told of all cases."""
    return told(tmp_path_factory.mktemp("flags") / "made.pcap", {name: talk for name, (talk, _) in CASES.items()})


@pytest.mark.parametrize("name", CASES)
def test_a_flag_is_raised_for_what_it_means_and_for_nothing_else(calls: dict[str, Any], name: str) -> None:
    found = calls[name]["flags"]
    assert {one["flag"] for one in found} == CASES[name][1]
    assert all(one["evidence"] for one in found)


def test_more_calls_than_a_few_may_have_one_call_id(tmp_path: Path) -> None:
    """Each is told as its own, however many have the Call-ID at once."""
    talks = [Talk(sent={}, length=1.0, call_id="same", tag=f"f{n}", number=n) for n in range(80)]
    frames = sorted((frame for talk in talks for frame in talk.frames()), key=lambda one: one[0])
    path = tmp_path / "same.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for at, _, data in frames:
            writer.writepkt(data, ts=BEGUN + at)
    calls = calls_in(path)
    assert {(one["state"], len(one["messages"]), one["hangup_by"]) for one in calls} == {("completed", 5, "caller")}
    assert len({one["from_tag"] for one in calls}) == len(calls) == len(talks)
