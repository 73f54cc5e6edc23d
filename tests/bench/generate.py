"""Makes the captures that are measured: SIP as a carrier's edge sees it, the same bytes every time.

200,000 packets: whole calls with SDP, OPTIONS, REGISTER with 401, about 600 bytes a frame, thousands of phones; a busy
variant with 3,000 calls up at once; fragmented INVITEs; QinQ and VXLAN around the first.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

SEED = 5060
PACKETS = 200_000
FRAGMENTED = 50_000
BUSY_CALLS = 3000
PHONES = 4000
MTU_PAYLOAD = 1480
MEDIA_PORT = 4000
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)

Message = tuple[int, int, bytes]  # source phone, destination phone, SIP


def phone(n: int) -> bytes:
    """Give the address of a phone or, for 0, of the proxy."""
    return bytes((10, 1, n >> 8, n & 255))


def text(address: bytes) -> str:
    """Give an address as text."""
    return ".".join(map(str, address))


def sip(
    start: str, method: str, number: int, caller: int, called: int, call: str, tag: str = "", body: str = ""
) -> bytes:
    """Give one message with the headers that phones send."""
    lines = [
        start,
        f"Via: SIP/2.0/UDP {text(phone(caller))}:5060;branch=z9hG4bK{call[:10]}{number};rport",
        f'From: "User {caller}" <sip:user{caller}@example.com>;tag=f{call[:8]}',
        f"To: <sip:user{called}@example.com>{tag}",
        f"Call-ID: {call}@{text(phone(caller))}",
        f"CSeq: {number} {method}",
        f"Contact: <sip:user{caller}@{text(phone(caller))}:5060;transport=udp>",
        "Max-Forwards: 70",
        "User-Agent: Example Phone 4.2.1 (build 20260221)",
        "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, UPDATE",
        "Supported: replaces, timer, path",
    ]
    if body:
        lines.append("Content-Type: application/sdp")
    lines += [f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def sdp(number: int, port: int) -> str:
    """Give a session description."""
    address = text(phone(number))
    lines = (
        "v=0",
        f"o=- {port} {port} IN IP4 {address}",
        "s=call",
        f"c=IN IP4 {address}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 8 0 101",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    )
    return "\r\n".join(lines)


def call(chance: random.Random) -> Iterator[Message]:
    """Give the messages of one call."""
    caller, called = chance.randrange(1, PHONES), chance.randrange(1, PHONES)
    name, port, tag = f"{chance.getrandbits(96):024x}", 2 * chance.randrange(8000, 30000), ";tag=t1"
    invite = (f"INVITE sip:user{called}@example.com SIP/2.0", "INVITE", 1, caller, called, name)
    yield caller, called, sip(*invite, body=sdp(caller, port))
    for start, body in (("100 Trying", ""), ("180 Ringing", ""), ("200 OK", sdp(called, port))):
        yield called, caller, sip(f"SIP/2.0 {start}", *invite[1:], tag=tag, body=body)
    yield caller, called, sip(f"ACK sip:user{called}@example.com SIP/2.0", "ACK", *invite[2:], tag=tag)
    yield caller, called, sip(f"BYE sip:user{called}@example.com SIP/2.0", "BYE", 2, *invite[3:], tag=tag)
    yield called, caller, sip("SIP/2.0 200 OK", "BYE", 2, *invite[3:], tag=tag)


def housekeeping(chance: random.Random) -> Iterator[Message]:
    """Give an OPTIONS with its answer, or a REGISTER with its 401."""
    caller, name = chance.randrange(1, PHONES), f"{chance.getrandbits(96):024x}"
    if chance.random() < 0.5:
        about = ("OPTIONS", 7, caller, 0, name)
        yield caller, 0, sip("OPTIONS sip:example.com SIP/2.0", *about)
        yield 0, caller, sip("SIP/2.0 200 OK", *about, tag=";tag=o")
        return
    for number, answer in ((1, "401 Unauthorized"), (2, "200 OK")):
        about = ("REGISTER", number, caller, 0, name)
        yield caller, 0, sip("REGISTER sip:example.com SIP/2.0", *about)
        yield 0, caller, sip(f"SIP/2.0 {answer}", *about, tag=";tag=r")


def traffic(busy: int) -> Iterator[Message]:
    """Give messages for ever, those of ``busy`` calls at a time mixed with each other."""
    chance = random.Random(SEED)
    under_way: list[Iterator[Message]] = []
    while True:
        while len(under_way) < busy:
            under_way.append(call(chance) if chance.random() < 0.75 else housekeeping(chance))
        at = chance.randrange(len(under_way))
        found = next(under_way[at], None)
        if found is None:
            under_way[at] = under_way[-1]
            under_way.pop()
        else:
            yield found


def datagram(message: Message) -> tuple[bytes, bytes, bytes]:
    """Give source, destination and the UDP datagram of a message."""
    source, destination, payload = message
    return phone(source), phone(destination), struct.pack(">HHHH", 5060, 5060, 8 + len(payload), 0) + payload


def ip(source: bytes, destination: bytes, payload: bytes, ident: int = 0, flags_offset: int = 0) -> bytes:
    """Give an IPv4 packet, with the IP header's checksum left out: nobody looks at it."""
    return (
        struct.pack(">BBHHHBBH4s4s", 69, 0, 20 + len(payload), ident, flags_offset, 64, 17, 0, source, destination)
        + payload
    )


ETHERNET = b"\x02\0\0\0\0\1\x02\0\0\0\0\2"


def plain(packet: bytes) -> bytes:
    """Put an Ethernet header before a packet."""
    return ETHERNET + b"\x08\0" + packet


def qinq(packet: bytes) -> bytes:
    """The same, with two tags."""
    return ETHERNET + struct.pack(">HHHHH", 0x88A8, 100, 0x8100, 200, 0x0800) + packet


def vxlan(packet: bytes) -> bytes:
    """The same, in a tunnel."""
    inner = struct.pack(">II", 0x08000000, 7 << 8) + plain(packet)
    return plain(ip(b"\xc6\x33\x64\1", b"\xc6\x33\x64\2", struct.pack(">HHHH", 40000, 4789, 8 + len(inner), 0) + inner))


def write(path: Path, frames: Iterator[bytes]) -> None:
    """Write frames as a capture file, a hundred microseconds apart."""
    with path.open("wb") as file:
        file.write(HEADER)
        for n, frame in enumerate(frames):
            second, micro = divmod(n * 100, 1_000_000)
            file.write(struct.pack("<IIII", 1_771_669_800 + second, micro, len(frame), len(frame)) + frame)


def tcp_frames(count: int, busy: int) -> Iterator[bytes]:
    """Give ``count`` messages over TCP, one a segment, of connections that were there before the capture."""
    source = traffic(busy)
    numbers: dict[tuple[int, int], int] = {}
    for _ in range(count):
        caller, called, payload = next(source)
        seq = numbers.get((caller, called), caller)
        numbers[caller, called] = seq + len(payload)
        header = struct.pack(">HHIIBBHHH", 5060, 5060, seq, 1, 5 << 4, 24, 8192, 0, 0)
        packet = bytearray(ip(phone(caller), phone(called), header + payload))
        packet[9] = 6
        yield plain(bytes(packet))


def frames(count: int, busy: int, wrap: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Give ``count`` frames of traffic."""
    source = traffic(busy)
    for _ in range(count):
        yield wrap(ip(*datagram(next(source))))


def fragmented() -> Iterator[bytes]:
    """Give large INVITEs in two or three fragments each."""
    chance = random.Random(SEED)
    for n in range(FRAGMENTED):
        caller, called, payload = next(call(chance))
        source, destination, whole = datagram((caller, called, payload + b"a=x\r\n" * chance.choice((250, 500))))
        for at in range(0, len(whole), MTU_PAYLOAD):
            more = 0x2000 if at + MTU_PAYLOAD < len(whole) else 0
            yield plain(ip(source, destination, whole[at : at + MTU_PAYLOAD], n & 0xFFFF, more | at // 8))


def media(streams: int, count: int) -> Iterator[bytes]:
    """Give calls, then ``count`` RTP packets of the streams that they announced, in turn."""
    ends = []
    for n in range(streams // 2):
        about, parties = ("INVITE", 1, 2 * n, 2 * n + 1, f"media{n}"), (phone(2 * n), phone(2 * n + 1))
        invite, answer = f"INVITE sip:user{n}@example.com SIP/2.0", "SIP/2.0 200 OK"
        for way, start in ((0, invite), (1, answer)):
            source, destination = parties[way], parties[1 - way]
            body = sdp(2 * n + way, MEDIA_PORT)
            yield plain(ip(*datagram((2 * n + way, 2 * n + 1 - way, sip(start, *about, body=body)))))
            ends.append((source, destination))
    lengths = struct.pack(">HHHH", MEDIA_PORT, MEDIA_PORT, 8 + 172, 0)
    heads = [plain(ip(source, destination, lengths + bytes(172)))[:-172] for source, destination in ends]
    for n in range(count):
        number, which = divmod(n, len(heads))
        yield heads[which] + struct.pack(">BBHII", 128, 0, number & 0xFFFF, number * 160, which) + b"\xff" * 160


CAPTURES: dict[str, Callable[[], Iterator[bytes]]] = {
    "sip": lambda: frames(PACKETS, 50, plain),
    "few": lambda: frames(PACKETS // 10, 50, plain),
    "busy": lambda: frames(PACKETS, BUSY_CALLS, plain),
    "tcp": lambda: tcp_frames(PACKETS, 50),
    "qinq": lambda: frames(PACKETS, 50, qinq),
    "vxlan": lambda: frames(PACKETS, 50, vxlan),
    "fragments": fragmented,
    "rtp": lambda: media(40, 1_000_000),
    "rtpfew": lambda: media(40, 100_000),
    "rtp20000": lambda: media(20_000, 1_000_000),
    "rtpcalls": lambda: media(40, 0),
    "rtp20000calls": lambda: media(20_000, 0),
}


def capture(folder: Path, name: str) -> Path:
    """Give a capture, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{SEED}-2.pcap"
    if not path.exists():
        partial = path.with_suffix(".tmp")
        write(partial, CAPTURES[name]())
        partial.rename(path)
    return path


def frames_in(path: Path) -> int:
    """Count the frames of a capture that was made here."""
    count = 0
    with path.open("rb") as file:
        file.seek(len(HEADER))
        while record := file.read(16):
            file.seek(int.from_bytes(record[8:12], "little"), 1)
            count += 1
    return count
