"""Frames are shared by the unordered pair of outer addresses: both directions and all fragments in one shard."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.pcap.files import enhanced, ethernet, interface, pcap, read_bytes, read_files, section


@pytest.mark.parametrize("shards", [2, 3, 5])
def test_shards_partition_a_file(tmp_path: Path, shards: int) -> None:
    """Every frame is in exactly one shard, in order, with its time; the damage at the end is reported once."""
    chance = random.Random(shards)
    hosts = [chance.randbytes(4) for _ in range(40)] + [chance.randbytes(16) for _ in range(40)]
    packets = []
    for n in range(5000):
        src, dst = chance.choice(hosts), chance.choice(hosts)
        frame = (
            ethernet(src, dst, n.to_bytes(4, "big")) if len(src) == len(dst) else bytes(12) + b"\x08\x06" + bytes(28)
        )
        packets.append(enhanced(frame, n))
    whole = section() + interface() + b"".join(packets)
    alone = read_bytes(tmp_path, whole[:-3])
    shared = [read_files(tmp_path / "capture", shard=n, shards=shards) for n in range(shards)]
    assert sorted(t for each in shared for t in each.times) == alone.times
    assert all(each.times == sorted(each.times) for each in shared)
    assert all(len(each.frames) > len(alone.frames) / shards / 4 for each in shared)
    assert [len(each.errors) for each in shared] == [1] + [0] * (shards - 1)


def test_every_shard_reads_on_after_a_damaged_file(tmp_path: Path) -> None:
    frames = [ethernet(bytes([10, 0, 0, n]), b"\x0a\x00\x01\x01") for n in range(100)]
    (tmp_path / "damaged").write_bytes(pcap(frames)[:-1])
    (tmp_path / "good").write_bytes(pcap(frames))
    names = [tmp_path / name for name in ("damaged", "absent", "good")]
    shared = [read_files(*names, shard=n, shards=3) for n in range(3)]
    assert sum(len(each.frames) for each in shared) == 199
    assert [len(each.errors) for each in shared] == [2, 0, 0]
