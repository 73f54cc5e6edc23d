"""The capturer ``hep``: what agents send, what they send wrongly, and those who mean harm."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import dpkt
import pytest

from otus_core import Context, TlsConfig
from otus_core.model.frames import RawPacket
from otus_core.testing import packets
from otus_core.testing.contract import CapturerContract
from otus_hep.capturer import HepCapturer
from otus_hep.collecting import REASONS, Collector
from otus_hep.config import HepCapturerConfig
from otus_hep.plugin import CONNECTIONS, PACKETS
from tests.e2e.test_hep_in_captures import hep2
from tests.hep.servers import make_certificates
from tests.patience import free_port, wait
from tests.sip.messages import message

NOON = 1_767_268_800_123_456_000
SIP = message("INVITE sip:bob@example.net SIP/2.0")


def packet(payload: bytes = SIP, *chunks: tuple[int, bytes], **about: Any) -> bytes:
    return packets.hep3(payload, *chunks, **{"src": "192.0.2.8", "dst": "192.0.2.9", "timestamp": NOON, **about})


class Receiver:
    """A capturer that is open, and what it has counted."""

    def __init__(self, **config: Any) -> None:
        self.port = free_port()
        transport = config.pop("transport", "udp")
        self.config = HepCapturerConfig(**{transport: [f"127.0.0.1:{self.port}"]}, **config)
        self.counted: Counter[str] = Counter()
        self.frames: list[RawPacket] = []
        self.capturer = HepCapturer(self.config)
        self.capturer.wire(self)  # type: ignore[arg-type]
        self.capturer.open()

    def counter(self, name: str) -> Any:
        def count(n: int = 1) -> None:
            self.counted[name] += n

        return count

    def read(self) -> None:
        batch = self.capturer.read()
        assert batch is not None
        self.frames += list(batch)

    def until(self, **counts: int) -> list[RawPacket]:
        """Read until so many are counted; gives the frames since the last time."""

        def enough() -> bool:
            self.read()
            return all(self.counted[name] >= count for name, count in counts.items())

        try:
            wait(enough)
        except AssertionError:
            raise AssertionError(f"{counts} were to be counted; there are {dict(self.counted)}") from None
        found, self.frames = self.frames, []
        return found

    def send(self, *datagrams: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for one in datagrams:
                sock.sendto(one, ("127.0.0.1", self.port))

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            yield sock


@contextmanager
def receiver(**config: Any) -> Iterator[Receiver]:
    made = Receiver(**config)
    try:
        yield made
    finally:
        made.capturer.close()


def decoded(frame: RawPacket) -> tuple[Any, ...]:
    found = packets.decode(frame.data, link_type=frame.link_type, timestamp=frame.timestamp)
    ends = (str(found.src_ip), found.src_port, str(found.dst_ip), found.dst_port)
    return (found.timestamp, *ends, found.protocol, found.payload)


class TestContract(CapturerContract):
    component = "hep"
    frames = 20
    missing: ClassVar[Mapping[str, Any]] = {"udp": ["192.0.2.77:9060"]}

    @pytest.fixture(autouse=True)
    def _port(self) -> None:
        self.port = free_port()
        self.config = {"udp": [f"127.0.0.1:{self.port}"], "tcp": [f"127.0.0.1:{self.port}"]}

    def stir(self) -> None:
        """Half of the packets come over UDP, and half over TCP, if there is anybody."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for n in range(0, self.frames, 2):
                sock.sendto(packet(b"%d" % n), ("127.0.0.1", self.port))
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", self.port)) as sock:
            sock.sendall(b"".join(packet(b"%d" % n) for n in range(1, self.frames, 2)))


def mapped(kind: int, host: int) -> bytes:
    """An IPv4 address in sixteen bytes."""
    return struct.pack("!HHH", 0, kind, 22) + bytes(10) + b"\xff\xff\xc0\0\2" + bytes([host])


def test_all_versions_and_what_they_say() -> None:
    names = ((12, struct.pack("!I", 7)), (17, b"a@b"), (18, b"\0\x2a"), (19, b"edge-1"))
    with receiver() as there:
        there.send(
            packet(SIP, *names),
            packet(SIP, (1, b"\x1e"), src="2001:db8::1", dst="2001:db8::2", protocol=6),  # macOS's AF_INET6
            packet(b"", (16, gzip.compress(SIP)), protocol=22),
            packet(b"", (16, zlib.compress(SIP)), (12, struct.pack("!I", 7))),
            hep2(SIP),
            hep2(SIP, 1),
            b"HEP3\0\x5a" + mapped(3, 8) + mapped(4, 9) + struct.pack("!HHH", 0, 15, 40) + SIP[:34],
        )
        frames = there.until(packets=7)
    ends, six = ("192.0.2.8", 5060, "192.0.2.9", 5060), ("2001:db8::1", 5060, "2001:db8::2", 5060)
    old = ("0.0.0.1", 5060, "0.0.0.2", 5062)
    told = [decoded(frame) for frame in frames]
    assert told[:5] == [
        (NOON, *ends, 17, SIP),
        (NOON, *six, 6, SIP),
        (NOON, *ends, 6, SIP),
        (NOON, *ends, 17, SIP),
        (1_767_261_600_123_456_000, *old, 17, SIP),
    ]
    assert told[5][1:] == (*old, 17, SIP)
    assert abs(told[5][0] / 1e9 - time.time()) < 60  # version 1 has no time: that of its arrival counts
    assert told[6][1:] == ("192.0.2.8", 0, "192.0.2.9", 0, 17, SIP[:34])
    metadata = [dict(frame.metadata.fields) if frame.metadata else {} for frame in frames]
    assert metadata == [
        {"node": "edge-1", "correlation_id": "a@b", "vlan": "42"}, {}, {}, {"node": "7"}, {"node": "2001"}, {}, {},
    ]  # fmt: skip


def test_packets_of_other_agents_are_what_hep_js_reads(corpora: Path) -> None:
    """Of heplify, SIP3's tests, and the capture of the Wireshark plugin."""
    with (corpora / "hep-wireshark__pcap__hep.pcap").open("rb") as file:
        captured = [bytes(dpkt.ethernet.Ethernet(data).data.data.data) for _, data in dpkt.pcap.Reader(file)]
    oracle = [json.loads(line) for line in (corpora / "oracle" / "hep.hep-js.jsonl").read_text().splitlines()]
    cut = next(
        one for one in oracle if one["id"].endswith("PACKET_2.bin")
    )  # 140 bytes of 544; hep-js looks at no length
    oracle.remove(cut)
    with receiver() as there:
        there.send((corpora / "messages" / cut["id"]).read_bytes())
        there.until(cut=1)
        for one in oracle:
            name, _, number = one["id"].partition("#")
            there.send(captured[int(number) - 1] if number else (corpora / "messages" / name).read_bytes())
        frames = there.until(packets=len(oracle))
    for frame, one in zip(frames, oracle, strict=True):
        about = one["hep"]["rcinfo"]
        time = about["timeSeconds"] * 1_000_000_000 + about["timeUseconds"] * 1000
        ends = (about["srcIp"], about["srcPort"], about["dstIp"], about["dstPort"])
        assert decoded(frame) == (time, *ends, about["protocol"], one["hep"]["payload"].encode())
        told = frame.metadata.fields if frame.metadata else {}
        assert told.get("node") == str(about["captureId"])
        assert told.get("correlation_id") == about.get("correlation_id")


def test_each_fault_is_counted_by_its_reason(tmp_path: Path) -> None:
    good, key = packet(SIP, (14, b"s3cret")), tmp_path / "key"
    key.write_text("s3cret\n")
    bomb = gzip.compress(b"x" * 10_000_000)
    wrong = {
        "strange": b"GET / HTTP/1.1\r\n\r\n",
        "cut": good[:100],
        "bad_chunk": good[:6] + b"\0\0\0\1\0\5" + good[12:],
        "no_addresses": b"HEP3" + (len(good) - 20).to_bytes(2) + good[6:20] + good[40:],
        "no_payload": packet(b"", (14, b"s3cret")),
        "refused_key": packet(SIP, (14, b"secret")),
        "not_inflated": packet(b"", (14, b"s3cret"), (16, b"\x1f\x8b rubbish")),
        "too_large": packet(b"", (14, b"s3cret"), (16, bomb)),
    }
    with receiver(key_file=str(key)) as there:
        there.send(*wrong.values(), packet(), good)
        there.until(packets=1)
        expected = {**dict.fromkeys(wrong, 1), "refused_key": 2, "packets": 1}
        assert there.counted == expected
    assert set(REASONS) == set(PACKETS) >= set(wrong)


def test_only_those_who_are_allowed_may_send() -> None:
    with receiver(allow=["192.0.2.0/24", "2001:db8::/32"]) as there:
        there.send(packet())
        there.until(refused_source=1)
    with receiver(allow=["192.0.2.0/24"], transport="tcp") as there, there.connected() as sock:
        there.until(connections_refused=1)
        assert sock.recv(1) == b""
    with receiver(allow=["127.0.0.0/8"]) as there:
        there.send(packet())
        assert len(there.until(packets=1)) == 1


def test_a_stream_may_be_cut_anywhere() -> None:
    stream = b"".join(packet(b"%d" % n) for n in range(40))
    with receiver(transport="tcp") as there, there.connected() as sock:
        at = 0
        for size in random.Random(7).choices((1, 2, 5, 50, 300), k=2000):
            sock.sendall(stream[at : at + size])
            there.read()
            at += size
        frames = there.until(packets=40)
    assert [decoded(frame)[-1] for frame in frames] == [b"%d" % n for n in range(40)]


def test_rubbish_ends_a_connection_and_no_other() -> None:
    with receiver(transport="tcp") as there, there.connected() as good, there.connected() as bad:
        good.sendall(packet()[:50])
        bad.sendall(packet() + b"HELP")
        there.until(packets=1, strange=1)
        assert bad.recv(1) == b""
        good.sendall(packet()[50:])
        there.until(packets=2)


def test_who_sends_slowly_is_dropped() -> None:
    with receiver(transport="tcp", timeout=0.1) as there, there.connected() as slow, there.connected() as quick:
        slow.sendall(packet()[:50])
        there.until(connections_slow=1)
        assert there.counted["cut"] == 1 and slow.recv(1) == b""
        quick.sendall(packet())  # which was silent, and may be
        there.until(packets=1)


def test_connections_have_a_limit_and_the_silent_give_way() -> None:
    limits = {"max_connections": 4, "max_connections_per_source": 100}
    with receiver(transport="tcp", **limits) as there, contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(there.connected()).sendall(packet())
        there.until(packets=4)
        late = stack.enter_context(there.connected())
        late.sendall(packet())
        there.until(packets=5, connections_displaced=1)
    with receiver(transport="tcp", max_connections_per_source=2) as there, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(there.connected())
        there.until(connections=2, connections_refused=1)


def test_a_flood_over_one_connection_does_not_stop_the_others() -> None:
    """However much one sends, the others have their turn after a piece of it."""
    flood = packet(b"x") * 2000
    with receiver(transport="tcp") as there, there.connected() as loud, there.connected() as quiet:
        there.until(connections=2)
        loud.setblocking(False)
        quiet.sendall(packet(b"quiet"))
        for _ in range(5):
            with contextlib.suppress(BlockingIOError):
                loud.send(flood)
            there.read()
        assert b"quiet" in {decoded(frame)[-1] for frame in there.frames}


def test_a_rate_bounds_datagrams_and_slows_connections_down() -> None:
    with receiver(max_rate=50) as there:
        there.send(*[packet()] * 200)
        there.until(packets=50, over_rate=100)
        assert there.counted["packets"] < 150
    with receiver(transport="tcp", max_rate=200) as there, there.connected() as sock:
        begun = time.monotonic()
        sock.sendall(packet() * 300)
        there.until(packets=300)
        assert time.monotonic() - begun > 0.4 and there.counted["over_rate"] == 0


def test_tls_asks_for_certificates(tmp_path: Path) -> None:
    folder = make_certificates(tmp_path)
    names = {"cert_file": "server.pem", "key_file": "server.key", "ca_file": "ca.pem"}
    tls = TlsConfig(**{key: str(folder / name) for key, name in names.items()})
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    threads: list[threading.Thread] = []

    def send(there: Receiver) -> None:
        with contextlib.suppress(OSError), there.connected() as sock:
            secured = context.wrap_socket(sock, server_hostname="localhost")
            secured.sendall(packet() * 50)
            secured.unwrap()

    def start(there: Receiver) -> None:
        threads.append(threading.Thread(target=send, args=(there,)))
        threads[-1].start()

    with receiver(transport="tls", security=tls, timeout=1.0) as there:
        start(there)
        there.until(connections_broken=1)
        assert there.counted["packets"] == 0
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
        start(there)
        there.until(packets=50)
        with there.connected():
            there.until(connections_slow=1)  # it says nothing at all
        for thread in threads:
            thread.join(10)
    assert set(there.counted) <= {*PACKETS, *CONNECTIONS}


def test_connections_that_are_reset_at_once_do_no_harm(tmp_path: Path) -> None:
    folder = make_certificates(tmp_path)
    tls = TlsConfig(cert_file=str(folder / "server.pem"), key_file=str(folder / "server.key"))
    for config in ({"transport": "tls", "security": tls}, {"transport": "tcp"}):
        with receiver(**config) as there:
            for n in range(20):
                with there.connected() as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    if n % 2:
                        sock.send(b"HEP3")
            there.until(connections_broken=10)
            with there.connected() as sock:
                sock.sendall(packet())
                there.until(**{"packets" if config["transport"] == "tcp" else "connections_broken": 1})


def test_random_datagrams_do_no_harm() -> None:
    """Random bytes, and packets with random damage, over a real socket; OTUS_HEP_DATAGRAMS sets how many."""
    rng = random.Random(19)
    good = packet(SIP, (12, struct.pack("!I", 7)), (17, b"a@b"), (19, b"edge-1"))
    sources = (good, hep2(SIP), packet(b"", (16, gzip.compress(SIP))))
    counted: Counter[str] = Counter()
    collector = Collector(lambda _address: True, 0.0, b"")
    many = int(os.environ.get("OTUS_HEP_DATAGRAMS", "50000"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near, socket.socket(type=socket.SOCK_DGRAM) as far:
        near.bind(("127.0.0.1", 0))
        far.connect(near.getsockname())
        for turn in range(many // 50):
            for _ in range(50):
                far.send(damaged(rng, rng.choice(sources)) if rng.randrange(4) else rng.randbytes(rng.randrange(200)))
            taken = 0
            while taken < 50:
                taken += collector.datagrams(near.fileno(), 50)
            batch = collector.batch()
            if turn % 100 == 0:
                for frame in batch:
                    decoded(frame)
            counted.update(collector.take_counts())
            counted["given"] += len(batch)
    assert sum(counted[name] for name in PACKETS) == many // 50 * 50
    assert counted["packets"] == counted["given"] == collector.given > many // 20
    assert all(counted[name] for name in ("strange", "cut", "bad_chunk", "no_addresses", "not_inflated"))


def damaged(rng: random.Random, data: bytes) -> bytes:
    made = bytearray(data[: rng.randrange(6, len(data) + 1)] if rng.randrange(3) == 0 else data)
    for _ in range(rng.randrange(4)):
        made[rng.randrange(len(made))] = rng.randrange(256)
    if rng.randrange(2) and made[:4] == b"HEP3":
        made[4:6] = len(made).to_bytes(2)
    return bytes(made)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_agents_may_use_ipv6(transport: str) -> None:
    """Also where one socket takes both: an IPv4 address is then one within IPv6, and is allowed as itself."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    port = free_port()
    counted: Counter[str] = Counter()
    config = HepCapturerConfig(**{transport: [f"[::]:{port}"]}, allow=["127.0.0.0/8", "::1/128"])  # type: ignore[arg-type]
    capturer = HepCapturer(config)
    capturer.wire(Context(task_id="t", agent_id="a", counter=lambda name: lambda n=1: counted.update({name: n})))
    capturer.open()
    with contextlib.closing(capturer), contextlib.ExitStack() as stack:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            sock = stack.enter_context(socket.socket(family, kind))
            sock.connect((host, port))
            sock.send(packet())
        wait(lambda: capturer.read() is not None and counted["packets"] == 2, what="both come")
    assert not counted["refused_source"] and not counted["connections_refused"]
