"""Makes ``office.pcap.gz``: ten minutes of a small office's life, with calls that go well and calls that do not.

Everything is made up: hosts of RFC 5737, users, RTP of silence. ``python examples/office.py`` writes the same bytes
each time.
"""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import dpkt

from otus_core.testing import packets

BEGUN = 1_795_600_931  # 2026-11-25 10:02:11 UTC
PBX = "192.0.2.1"
Frames = list[tuple[float, bytes]]


class Call:
    """One call from a telephone to the switch; methods add its messages at seconds after its start."""

    def __init__(self, frames: Frames, at: float, caller: str, callee: str, host: str) -> None:
        self.frames, self.at, self.caller, self.callee, self.host = frames, at, caller, callee, host
        self.port = 20_000 + 2 * len(frames) % 20_000
        self.branches = 0

    def request(self, after: float, method: str, cseq: int = 1, sdp: bool = False, back: bool = False) -> None:
        """Send a request, from the switch if ``back``."""
        self.branches += 1
        ends = ("callee", self.callee, self.caller) if back else ("caller", self.caller, self.callee)
        start = f"{method} sip:{ends[2]}@{self.host if back else PBX} SIP/2.0"
        self._send(after, start, method, cseq, sdp, back, request=True)

    def answer(self, after: float, code: int, phrase: str, method: str = "INVITE", cseq: int = 1, sdp: bool = False,
               back: bool = False) -> None:  # fmt: skip
        """Answer a request, which came from the switch if ``back``."""
        self._send(after, f"SIP/2.0 {code} {phrase}", method, cseq, sdp, not back, request=False)

    def _send(self, after: float, start: str, method: str, cseq: int, sdp: bool, from_pbx: bool, request: bool) -> None:
        asked_by_pbx = from_pbx == request
        via, body = (PBX if asked_by_pbx else self.host), ""
        one, other = (self.callee, self.caller) if asked_by_pbx else (self.caller, self.callee)
        early = " 100 " in start or (request and method in ("INVITE", "CANCEL", "OPTIONS", "REGISTER"))
        tags = {self.callee: "" if early else ";tag=b2", self.caller: ";tag=a1"}
        if sdp:
            host, port = (PBX, self.port + 1_000) if from_pbx else (self.host, self.port)
            body = (
                f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n"
                "a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
            )
        lines = [
            start,
            f"Via: SIP/2.0/UDP {via}:5060;branch=z9hG4bK{self.caller}{method if method != 'ACK' else 'INVITE'}{cseq}",
            f"From: <sip:{one}@example.com>{tags[one]}",
            f"To: <sip:{other}@example.com>{tags[other]}",
            f"Call-ID: {self.caller}-{int(self.at)}@example.com",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{self.caller if not from_pbx else self.callee}@{PBX if from_pbx else self.host}>",
            *(["Max-Forwards: 70", "User-Agent: Desk Phone 3.1"] if request else ["Server: Office PBX 7"]),
            *(["Content-Type: application/sdp"] if sdp else []),
            f"Content-Length: {len(body)}",
        ]
        self._put(after, ("\r\n".join(lines) + "\r\n\r\n" + body).encode(), from_pbx, 5060, 5060)

    def talk(self, after: float, seconds: float, back: bool, lost: int = 0, shaken: float = 0.0) -> None:
        """Send RTP one way: of 100 packets ``lost`` are missing, and they come up to ``shaken`` seconds late."""
        own, other = (self.port + 1_000, self.port) if back else (self.port, self.port + 1_000)
        ssrc = 0x0715_0000 + self.port + back
        for n in range(int(seconds * 50)):
            if (n * 37) % 100 < lost:
                continue
            late = shaken * ((n * 7919) % 97) / 97
            header = struct.pack("!BBHII", 0x80, 8 | (0x80 if n == 0 else 0), n, n * 160, ssrc)
            self._put(after + n * 0.02 + late, header + b"\xd5" * 160, back, own, other)

    def _put(self, after: float, payload: bytes, from_pbx: bool, src_port: int, dst_port: int) -> None:
        src, dst = (PBX, self.host) if from_pbx else (self.host, PBX)
        frame = packets.udp(payload, src=src, dst=dst, src_port=src_port, dst_port=dst_port)
        self.frames.append((self.at + after, frame))

    def answered(self, ringing: float = 2.0) -> None:
        """Set the call up."""
        self.request(0, "INVITE", sdp=True)
        self.answer(0.004, 100, "Trying")
        self.answer(0.180, 180, "Ringing")
        self.answer(ringing, 200, "OK", sdp=True)
        self.request(ringing + 0.01, "ACK")

    def ended(self, after: float, by_callee: bool = False) -> None:
        """Hang up."""
        self.request(after, "BYE", cseq=2, back=by_callee)
        self.answer(after + 0.005, 200, "OK", "BYE", cseq=2, back=by_callee)

    def refused(self, after: float, code: int, phrase: str) -> None:
        """Have the call refused."""
        self.request(0, "INVITE", sdp=True)
        self.answer(0.004, 100, "Trying")
        self.answer(after, code, phrase)
        self.request(after + 0.01, "ACK")


def office() -> Frames:
    """Give the frames of all calls with their times, in seconds from the beginning."""
    frames: Frames = []
    good = Call(frames, 4, "alice", "bob", "192.0.2.11")
    good.answered(3.1)
    good.talk(3.1, 14, back=False)
    good.talk(3.1, 14, back=True)
    good.ended(17.2, by_callee=True)
    Call(frames, 62, "carol", "bob", "192.0.2.12").refused(0.31, 486, "Busy Here")
    Call(frames, 131, "dave", "5550100", "192.0.2.13").refused(6.0, 503, "Service Unavailable")
    bad = Call(frames, 188, "alice", "carol", "192.0.2.11")
    bad.answered(4.4)
    bad.talk(4.4, 16, back=False)
    bad.talk(4.4, 16, back=True, lost=7, shaken=0.045)
    bad.ended(20.6)
    mute = Call(frames, 305, "erin", "5550101", "198.51.100.7")
    mute.answered(2.2)
    mute.talk(2.2, 8, back=False)
    mute.ended(10.3)
    gone = Call(frames, 402, "frank", "dave", "192.0.2.14")
    gone.request(0, "INVITE", sdp=True)
    gone.answer(0.004, 100, "Trying")
    gone.answer(0.2, 180, "Ringing")
    gone.request(21.0, "CANCEL")
    gone.answer(21.004, 200, "OK", "CANCEL")
    gone.answer(21.006, 487, "Request Terminated")
    gone.request(21.012, "ACK")
    for n in range(3):
        guess = Call(frames, 520 + n, "mallory", "mallory", "203.0.113.66")
        guess.request(0, "REGISTER", cseq=n + 1)
        guess.answer(0.003, 403, "Forbidden", "REGISTER", cseq=n + 1)
    for n in range(65):  # a telephone asks every ten seconds whether the switch is there
        ping = Call(frames, n * 10.7, "carol", "pbx", "192.0.2.12")
        ping.request(0, "OPTIONS", cseq=n + 1)
        ping.answer(0.002, 200, "OK", "OPTIONS", cseq=n + 1)
    return sorted(frames)


def main() -> None:
    """Write the capture beside this file."""
    plain = io.BytesIO()
    writer = dpkt.pcap.Writer(plain)
    for at, frame in office():
        writer.writepkt(frame, BEGUN + at)
    path = Path(__file__).with_name("office.pcap.gz")
    path.write_bytes(gzip.compress(plain.getvalue(), mtime=0))


if __name__ == "__main__":
    main()
