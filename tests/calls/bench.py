"""A processor ``calls`` under test, and SIP to give it: what goes in is whole messages, what comes out is records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import otus_sip
from otus_calls.config import CallsConfig
from otus_calls.processor import Calls
from otus_core import Context, OutputPacket, Record

SECOND = 1_000_000_000
BEGUN = 1_700_000_000 * SECOND
CALLER, PROXY, CALLEE = ("192.0.2.1", 5060), ("192.0.2.2", 5060), ("192.0.2.3", 5060)
OFFER = (
    "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\n"
    "m=audio {1} RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na={2}\r\n"
)


def sdp(ip: str, port: int = 4000, direction: str = "sendrecv") -> str:
    """Give a session description."""
    return OFFER.format(ip, port, direction)


class Bench:
    """One processor, or several that share the calls as workers do. ``at`` is the packet time, in seconds."""

    def __init__(self, workers: int = 1, *, media: bool = False, **options: Any) -> None:
        self.records: list[Record] = []
        self.counted: dict[str, int] = {}
        self.at = 0.0
        self._given = 0
        self.team = [Calls(CallsConfig(**options)) for _ in range(workers)]
        for one in self.team:
            one.wire(self._context(one, workers == 1, media))
            one.start()

    def _context(self, one: Calls, alone: bool, media: bool) -> Context:
        def route(key: str, message: Any) -> None:
            owner = one if alone else self.team[sum(key.encode()) % len(self.team)]
            owner.on_route(key, message)

        def counter(name: str) -> Any:
            def count(n: int = 1) -> None:
                self.counted[name] = self.counted.get(name, 0) + n

            return count

        return Context(
            task_id="t",
            agent_id="a",
            emit=self.records.append,
            route=route,
            alone=alone,
            counter=counter,
            call_labels={"stream": "rtp.call_id"} if media else {},
        )

    def give(self, output: OutputPacket) -> Any:
        """Give a message to one of the workers, in turn."""
        self._given += 1
        return self.team[self._given % len(self.team)].process(output)

    def send(
        self,
        start: str,
        *,
        way: tuple[tuple[str, int], tuple[str, int]] = (CALLER, PROXY),
        cseq: str = "1 INVITE",
        call: str = "c1",
        tags: tuple[str, str] = ("f1", ""),
        branch: str = "z9hG4bK1",
        body: str = "",
        more: Iterable[str] = (),
        after: float = 0.1,
        users: tuple[str, str] = ("alice", "bob"),
        vlans: tuple[int, ...] = (),
    ) -> None:
        """Send a SIP message ``after`` some seconds."""
        self.at += after
        to_tag = f";tag={tags[1]}" if tags[1] else ""
        lines = [
            start if start.startswith("SIP/") else f"{start} SIP/2.0",
            f"Via: SIP/2.0/UDP {way[0][0]}:{way[0][1]};branch={branch}",
            f"From: <sip:{users[0]}@example.com>;tag={tags[0]}",
            f"To: <sip:{users[1]}@example.com>{to_tag}",
            f"Call-ID: {call}",
            f"CSeq: {cseq}",
            *more,
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        raw = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()
        self.give_raw(raw, way, vlans)

    def give_raw(self, raw: bytes, way: tuple[tuple[str, int], tuple[str, int]], vlans: tuple[int, ...] = ()) -> None:
        """Give a message as it is on the wire, now. Raises ParseError."""
        self.give(
            OutputPacket(
                timestamp=BEGUN + round(self.at * SECOND),
                src_ip=way[0][0],
                src_port=way[0][1],
                dst_ip=way[1][0],
                dst_port=way[1][1],
                payload=otus_sip.parse(raw),
                payload_type="sip",
                raw_payload=raw,
                vlans=vlans,
            )
        )

    def invite(self, **options: Any) -> None:
        """Send an INVITE of the caller."""
        self.send("INVITE sip:bob@example.com", **{"body": sdp(CALLER[0]), **options})

    def answer(self, code: int, reason: str = "", **options: Any) -> None:
        """Answer the caller."""
        options = {"way": (PROXY, CALLER), "tags": ("f1", "t1"), **options}
        self.send(f"SIP/2.0 {code} {reason or 'Whatever'}", **options)

    def established(self, **options: Any) -> None:
        """Set a call up."""
        self.invite(**options)
        self.answer(180, **options)
        self.answer(200, **{"body": sdp(CALLEE[0]), **options})
        self.send("ACK sip:bob@example.com", cseq="1 ACK", **{"tags": ("f1", "t1"), **options})

    def bye(self, *, by_caller: bool = True, after: float = 5.0, **options: Any) -> None:
        """Hang up."""
        tags, way = (("f1", "t1"), (CALLER, PROXY)) if by_caller else (("t1", "f1"), (PROXY, CALLER))
        self.send(
            "BYE sip:x@example.com", cseq="2 BYE", way=way, after=after, **{"tags": tags, "branch": "b2", **options}
        )
        self.send("SIP/2.0 200 OK", cseq="2 BYE", way=way[::-1], **{"tags": tags, "branch": "b2", **options})

    def tick(self, after: float = 0.0) -> None:
        """Let time pass."""
        self.at += after
        for one in self.team:
            self.records += one.tick(BEGUN + round(self.at * SECOND))

    def finish(self) -> list[dict[str, Any]]:
        """End the capture; gives the calls that were reported."""
        for _ in zip_longest(*(one.before_finish(BEGUN + round(self.at * SECOND)) for one in self.team)):
            pass
        for one in self.team:
            self.records += one.finish(BEGUN + round(self.at * SECOND))
        return self.calls()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Give what the records of a kind hold."""
        return [json.loads(one.payload.to_json()) for one in self.records if one.payload_type == kind]

    def calls(self) -> list[dict[str, Any]]:
        """Give the calls that were reported."""
        return self.of("call")

    def call(self) -> dict[str, Any]:
        """Give the only call, at the end of the capture."""
        (found,) = self.finish()
        return found


def flags(call: dict[str, Any]) -> set[str]:
    """Give the flags of a call."""
    return {one["flag"] for one in call["flags"]}
