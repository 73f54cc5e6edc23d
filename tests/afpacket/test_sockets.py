"""Packet sockets and their rings against the kernel, frame by frame, in namespaces of their own."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count

import dpkt
import pytest

from otus_afpacket import kernel, sockets
from otus_afpacket.capturer import AfpacketCapturer
from otus_afpacket.config import AfpacketConfig
from otus_core import BpfInvalid, CaptureError, CaptureStats, FrameBatch, RawPacket
from otus_core.testing import packets
from tests.live.net import Pair
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.live
NUMBERS = count()
Open = Callable[..., AfpacketCapturer]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair(f"otusa{os.getpid() % 100_000}x{next(NUMBERS)}")
    yield made
    made.remove()


@pytest.fixture
def opened(pair: Pair) -> Iterator[Open]:
    """Make a capturer with these options, on the near end's eth0 unless they say otherwise."""
    made: list[AfpacketCapturer] = []

    def start(
        shard: int = 0, shards: int = 1, state: dict[str, object] | None = None, **options: object
    ) -> AfpacketCapturer:
        config = AfpacketConfig(**{"interface": "eth0", **options})
        capturer = AfpacketCapturer(config)
        fds = pair.inside(
            pair.near, lambda: AfpacketCapturer.acquire(config, shard, shards, {} if state is None else state)
        )
        capturer.open(shard, shards, fds)
        made.append(capturer)
        return capturer

    yield start
    for one in made:
        one.close()


def frames(capturer: AfpacketCapturer, most: int = 0) -> list[RawPacket]:
    """Everything that has come, once ``most`` frames are there; else what comes until ``halt`` has drained the ring."""
    found: list[RawPacket] = []
    if not most:
        capturer.halt()
    until = time.monotonic() + PATIENCE_S
    while not most or len(found) < most:
        batch = capturer.read()
        if batch is None or time.monotonic() > until:
            break
        found += list(batch)
    return found


def one_block(pair: Pair, opened: Open, sent: list[bytes], **options: object) -> tuple[AfpacketCapturer, FrameBatch]:
    """Send frames so that they come in one block: the kernel closes one early when the sender is held up."""
    for _ in range(10):
        capturer = opened(**options)
        pair.send(sent)
        batch = None
        while batch is None or not batch.count:
            batch = capturer.read()
        if batch.count == len(sent):
            return capturer, batch
        capturer.close()
    pytest.fail("the frames never came in one block")


def taken(capturer: AfpacketCapturer) -> list[bytes]:
    return [frame.data for frame in frames(capturer)]


def test_frames_come_as_they_were_sent(pair: Pair, opened: Open) -> None:
    capturer = opened()
    sent = [packets.udp(bytes([n]) * (n * 10)) for n in range(1, 100)]
    before = time.time_ns()
    pair.send(sent)
    got = frames(capturer)
    assert [frame.data for frame in got] == sent
    assert all(before <= frame.timestamp <= time.time_ns() for frame in got)
    assert capturer.stats() == CaptureStats(99, 0, 0)
    index = pair.inside(pair.near, lambda: socket.if_nametoindex("eth0"))
    assert {(frame.interface_index, frame.link_type) for frame in got} == {(index, 1)}


@pytest.mark.parametrize("ethertype", [0x8100, 0x88A8], ids=["802.1Q", "802.1ad"])
@pytest.mark.parametrize("tags", [(5,), (4095,), (100, 200)], ids=["one", "highest", "two"])
def test_tags_that_the_kernel_took_out_are_put_back(
    pair: Pair, opened: Open, tags: tuple[int, ...], ethertype: int
) -> None:
    capturer = opened()
    sent = packets.vlan(packets.udp(b"tagged"), *tags, ethertype=ethertype)
    pair.send([sent])
    (got,) = frames(capturer)
    assert (got.data, got.orig_len) == (sent, len(sent))


@pytest.mark.parametrize("expression", ["vlan 100", "vlan 100 and udp port 5060", "vlan and udp"])
def test_a_filter_can_ask_for_tags(pair: Pair, opened: Open, expression: str) -> None:
    capturer = opened(bpf_filter=expression, bpf_fragments=False)
    tagged = packets.vlan(packets.udp(b"tagged"), 100)
    pair.send([packets.udp(b"plain"), tagged])
    assert taken(capturer) == [tagged]


def test_fragments_and_tags_pass_a_port_filter(pair: Pair, opened: Open) -> None:
    pieces = packets.fragments(packets.udp(b"x" * 4000), 1400)
    wanted = [*pieces, packets.vlan(packets.udp(b"y"), 7), packets.vlan(packets.udp(b"z"), 7, 8)]
    capturer = opened(bpf_filter="udp port 5060")
    pair.send([*wanted, packets.udp(b"other", src_port=1, dst_port=2)])
    assert taken(capturer) == wanted


def test_a_strict_filter_is_strict(pair: Pair, opened: Open) -> None:
    pieces = packets.fragments(packets.udp(b"x" * 4000), 1400)
    capturer = opened(bpf_filter="udp port 5060", bpf_fragments=False)
    pair.send(pieces)
    assert taken(capturer) == pieces[:1]


def test_snap_len_cuts_and_says_so(pair: Pair, opened: Open) -> None:
    capturer = opened(snap_len=64, bpf_filter="udp")
    pair.send([packets.udp(b"x" * 500)])
    (got,) = frames(capturer)
    assert (got.capture_len, got.orig_len) == (64, len(packets.udp(b"x" * 500)))


def test_nothing_of_another_interface_is_queued_before_the_socket_is_bound(pair: Pair, opened: Open) -> None:
    capturer = opened(interface="lo")
    pair.send([packets.udp(b"on eth0")])
    assert taken(capturer) == []
    assert capturer.stats().received == 0


def test_what_leaves_can_be_ignored(pair: Pair, opened: Open) -> None:
    both, incoming = opened(bpf_filter="udp port 9"), opened(bpf_filter="udp port 9", ignore_outgoing=True)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((pair.NEAR, 0))
            sock.sendto(b"leaving", (pair.FAR, 9))

    pair.inside(pair.near, send)
    assert [data[-7:] for data in taken(both)] == [b"leaving"]
    assert taken(incoming) == []


def test_cooked_frames_have_the_head_that_libpcap_gives_them(pair: Pair, opened: Open) -> None:
    capturer = opened(interface="any", bpf_filter="udp port 5060")
    sent = packets.udp(b"hello")
    pair.send([sent])
    (got,) = frames(capturer)
    assert got.link_type == 113
    head = dpkt.sll.SLL(got.data)
    assert (head.ethtype, head.hdr, bytes(head.data)) == (0x0800, b"\x02\0\0\0\0\x01\0\0", sent[14:])
    assert got.orig_len == len(sent) - 14 + 16


def test_an_overrun_is_counted_exactly(pair: Pair, opened: Open) -> None:
    capturer = opened(block_size=131072, block_count=4, bpf_filter="udp port 5060")
    pair.send([packets.udp(b"x" * 1000) for _ in range(2000)])
    got = frames(capturer)
    stats = capturer.stats()
    assert stats.received == 2000
    assert stats.dropped == 2000 - len(got) > 0


def test_frames_that_are_kept_outlive_the_ring(pair: Pair, opened: Open) -> None:
    sent = [packets.udp(b"%d" % n) for n in range(100)]
    capturer, batch = one_block(pair, opened, sent, block_size=131072, block_count=4)
    capturer.close()
    assert [frame.data for frame in batch] == sent  # the mapping lives as long as the batch


def test_a_second_reader_goes_on_after_the_frame_that_killed_the_first(pair: Pair, opened: Open) -> None:
    sent = [packets.udp(b"%d" % n) for n in range(50)]
    first, _ = one_block(pair, opened, sent)
    assert kernel.take_statistics(first._sock) == (50, 0)
    second = AfpacketCapturer(first._config)
    second.resume(20, CaptureStats(50, 0, 0))  # the twentieth was the last that was taken
    second.open(0, 1, [os.dup(first.fileno() or -1)])
    try:
        assert taken(second) == sent[20:]
    finally:
        second.close()


def test_a_tag_is_not_put_back_twice(pair: Pair, opened: Open) -> None:
    sent = [packets.vlan(packets.udp(b"%d" % n), n) for n in range(1, 20)]
    first, _ = one_block(pair, opened, sent)
    second = AfpacketCapturer(first._config)
    second.resume(1, CaptureStats(19, 0, 0))
    second.open(0, 1, [os.dup(first.fileno() or -1)])
    try:
        assert taken(second) == sent[1:]
    finally:
        second.close()


@pytest.mark.parametrize("mode", ["hash", "cpu", "lb", "rollover", "qm"])
def test_every_mode_shares_frames_without_loss(pair: Pair, opened: Open, mode: str) -> None:
    state: dict[str, object] = {}
    shards = [opened(shard, 2, state, fanout_mode=mode) for shard in range(2)]
    sent = [packets.udp(b"%d" % n, src=f"10.9.0.{n % 250 + 1}") for n in range(500)]
    pair.send(sent)
    got = [data for shard in shards for data in taken(shard)]
    assert sorted(got) == sorted(sent)


def test_fragments_are_put_together_before_they_are_shared_out(pair: Pair, opened: Open) -> None:
    state: dict[str, object] = {}
    shards = [opened(shard, 2, state) for shard in range(2)]
    whole = [packets.udp(bytes([n]) * 20_000, src=f"10.9.1.{n + 1}", identification=n + 1) for n in range(20)]
    pair.send([piece for frame in whole for piece in packets.fragments(frame, 1400)])
    got = [data for shard in shards for data in taken(shard)]
    assert sorted(data[42:] for data in got) == sorted(frame[42:] for frame in whole)


def test_groups_of_two_tasks_are_two(pair: Pair, opened: Open) -> None:
    shards = [opened(shard, 2, state) for state in ({}, {}) for shard in range(1)]
    sent = [packets.udp(b"%d" % n, src=f"10.9.0.{n % 250 + 1}") for n in range(200)]
    pair.send(sent)
    assert [taken(shard) for shard in shards] == [sent, sent]


def from_broker(port: int) -> bytes:
    return packets.tcp(b"x", src=Pair.FAR, dst=Pair.NEAR, src_port=9092, dst_port=port)


def own(port: int) -> list[tuple[str, int, str, int]]:
    return [(Pair.NEAR, port, Pair.FAR, 9092)]


@pytest.mark.parametrize("interface", ["eth0", "any"])
def test_own_connections_are_left_out_and_counted(pair: Pair, opened: Open, interface: str) -> None:
    capturer, all_of_it = opened(interface=interface), opened(interface=interface, exclude_own=False)
    for one in (capturer, all_of_it):
        one.exclude(own(40000))
    sent = [packets.udp(b"y"), *[from_broker(40000)] * 3, packets.udp(b"z"), from_broker(40000)]
    pair.send(sent)
    assert [data[-1:] for data in taken(capturer)] == [b"y", b"z"]
    assert capturer.stats() == CaptureStats(6, 0, 0, 4)
    assert len(taken(all_of_it)) == 6
    assert all_of_it.stats() == CaptureStats(6, 0, 0, 0)


def test_what_the_filter_refuses_is_not_counted_as_ours(pair: Pair, opened: Open) -> None:
    capturer = opened(bpf_filter="udp port 5060", bpf_fragments=False)
    capturer.exclude(own(40000))
    pair.send([from_broker(40000), packets.udp(b"y")])
    assert taken(capturer) == [packets.udp(b"y")]
    assert capturer.stats() == CaptureStats(1, 0, 0, 0)


def test_frames_of_ours_are_counted_once_by_all_readers_of_a_ring_together(pair: Pair, opened: Open) -> None:
    sent = [packets.udp(b"1"), from_broker(40000), packets.udp(b"2"), from_broker(40000), packets.udp(b"3")]
    first = opened()
    first.exclude(own(40000))
    pair.send(sent)
    got: list[bytes] = []
    while len(got) < 3:
        batch = first.read()
        got += [frame.data for frame in batch or ()]
    told = first.stats()
    assert told == CaptureStats(5, 0, 0, 2)
    second = AfpacketCapturer(first._config)
    second.resume(2, CaptureStats(5, 0, 0, 1))  # it died before the last of them was booked
    second.open(0, 1, [os.dup(first.fileno() or -1)])
    pair.send([from_broker(40000)])
    try:
        assert taken(second)[-1:] == [packets.udp(b"3")]
        assert second.stats() == CaptureStats(1, 0, 0, 2)  # with the one that was not booked
    finally:
        second.close()


def test_a_reader_that_comes_after_takes_out_what_the_first_left_out(pair: Pair, opened: Open) -> None:
    first = opened(bpf_filter="tcp or udp")
    alone = kernel.read_filter(first._sock)
    lengths = set()
    for port in range(40000, 40005):  # each a worker of its own, with the socket of the one that died
        heir = AfpacketCapturer(first._config)
        heir.open(0, 1, [os.dup(first.fileno() or -1)])
        heir.exclude(own(port))
        lengths.add(len(kernel.read_filter(first._sock)))
        heir._sock.detach()
    assert len(lengths) == 1
    pair.send([from_broker(40000), from_broker(40004)])
    assert taken(first) == [from_broker(40000)]
    first._halted_at = None
    first.exclude([])
    assert kernel.read_filter(first._sock) == alone


def test_one_worker_alone_counts_what_the_interface_dropped(opened: Open) -> None:
    state: dict[str, object] = {}
    first, second = (opened(shard, 2, state) for shard in range(2))
    assert (first._drops_before is None, second._drops_before is None) == (False, True)


@pytest.mark.parametrize(
    ("options", "error", "reason", "fatal"),
    [
        ({"interface": "eth9"}, CaptureError, "there is no such interface (there are eth0, lo)", False),
        ({"bpf_filter": "udp prot 5060"}, BpfInvalid, "syntax error", True),
        ({"block_size": 131073}, CaptureError, "block_size 131073 is not a multiple of 4096", True),
        ({"block_size": 4 << 20, "block_count": 16384}, CaptureError, "2 GiB or more", True),
        ({"interface": "any", "bpf_filter": "ether host 0:0:0:0:0:1"}, BpfInvalid, "", True),
    ],
    ids=["no interface", "bad filter", "odd block", "too large", "no link layer"],
)
def test_what_cannot_be_opened(
    pair: Pair, options: dict[str, object], error: type[Exception], reason: str, fatal: bool
) -> None:
    config = AfpacketConfig(**{"interface": "eth0", **options})
    with pytest.raises(error) as caught:
        pair.inside(pair.near, lambda: sockets.acquire(config, 0, 1, {}))
    assert reason in str(caught.value)
    assert getattr(caught.value, "fatal", True) is fatal


def test_without_privilege_the_error_says_what_is_needed(pair: Pair) -> None:
    code = (
        "from otus_afpacket import sockets, config\n"
        "try: sockets.acquire(config.AfpacketConfig(interface='lo'), 0, 1, {})\n"
        "except Exception as error: print(error)"
    )
    done = pair.run(pair.near, "setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", code)
    assert b"lo: capturing needs CAP_NET_RAW: run as root" in done.stdout


def test_no_descriptor_is_left_after_a_refusal(pair: Pair) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(BpfInvalid):
            pair.inside(
                pair.near, lambda: sockets.acquire(AfpacketConfig(interface="eth0", bpf_filter="x y"), 0, 1, {})
            )
    assert len(os.listdir("/proc/self/fd")) == before
