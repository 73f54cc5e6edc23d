"""Truncated and mutated files: every frame up to the damage, then one error, and never more than that."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pcap.files import (
    enhanced,
    interface,
    obsolete,
    option,
    pcap,
    pcap_header,
    pcap_record,
    pcapng,
    read_bytes,
    read_files,
    section,
    simple,
)

FRAMES = [b"one", b"two frames", b"three.."]
PCAP_PARTS = [pcap_header(), *(pcap_record(data) for data in FRAMES)]
PCAPNG_PARTS = [
    section(),
    interface(options=option(9, b"\x09") + option(0, b"")),
    enhanced(FRAMES[0], options=option(1, b"comment")),
    obsolete(FRAMES[1]),
    simple(FRAMES[2]),
]
BIG_ENDIAN_PARTS = [
    section(">"),
    interface(order=">"),
    enhanced(FRAMES[0], order=">"),
    enhanced(FRAMES[1], order=">"),
    enhanced(FRAMES[2], order=">"),
]


@pytest.mark.parametrize(
    ("parts", "first"),
    [
        pytest.param(PCAP_PARTS, 1, id="pcap"),
        pytest.param(PCAPNG_PARTS, 2, id="pcapng"),
        pytest.param(BIG_ENDIAN_PARTS, 2, id="pcapng, big-endian"),
    ],
)
def test_every_truncation_point(tmp_path: Path, parts: list[bytes], first: int) -> None:
    """Frames whose last byte is there are given; a cut that is not between two records is an error, at that record."""
    whole = b"".join(parts)
    ends = [sum(map(len, parts[: n + 1])) for n in range(len(parts))]
    for cut in range(len(whole) + 1):
        found = read_bytes(tmp_path, whole[:cut])
        taken = sum(end <= cut for end in ends)
        assert found.data == FRAMES[: max(0, taken - first)], cut
        assert len(found.errors) == (cut not in ends), cut
        if found.errors and cut >= ends[0]:
            assert found.errors[0].offset == ends[taken - 1], cut
            assert "the file ends inside a" in found.errors[0].reason


def test_every_truncation_point_of_a_gzip_file(tmp_path: Path) -> None:
    whole = gzip.compress(pcap(FRAMES), mtime=0)
    for cut in range(2, len(whole)):
        found = read_bytes(tmp_path, whole[:cut])
        assert found.data == FRAMES[: len(found.frames)]
        (error,) = found.errors
        assert error.reason == "the gzip data ends too early"
        assert error.offset == cut
    assert read_bytes(tmp_path, whole).data == FRAMES


def test_a_record_that_claims_too_much_is_damage_at_its_place(tmp_path: Path) -> None:
    good = pcap(FRAMES)
    found = read_bytes(tmp_path, good + pcap_record(b"")[:8] + b"\xff" * 8 + bytes(100))
    assert found.data == FRAMES
    assert found.errors[0].offset == len(good)
    assert "claims 4294967295 bytes, more than 262144" in str(found.errors[0])


def test_reading_goes_on_with_the_next_file(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(pcap(FRAMES)[:-2])
    (tmp_path / "folder").mkdir()
    (tmp_path / "good").write_bytes(pcapng(FRAMES))
    names = ["damaged", "absent", "folder", "good"]
    found = read_files(*(tmp_path / name for name in names))
    assert found.data == FRAMES[:2] + FRAMES
    assert [Path(error.source).name for error in found.errors] == ["damaged", "absent", "folder"]
    assert "No such file" in found.errors[1].reason
    assert "Is a directory" in found.errors[2].reason


def test_the_error_comes_after_the_last_good_frame(tmp_path: Path) -> None:
    found = read_bytes(tmp_path, pcap([b"x" * 1000] * 2000)[:-1])
    assert len(found.frames) == 1999
    assert len(found.errors) == 1


def test_a_name_with_control_characters_is_shown_escaped(tmp_path: Path) -> None:
    (error,) = read_files(tmp_path / "\x1b[31mred\n").errors
    assert str(error).isprintable()


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    (error,) = read_files(f"{tmp_path}/a\0b").errors
    assert "null" in error.reason


SEEDS = [b"".join(PCAP_PARTS), b"".join(PCAPNG_PARTS), b"".join(BIG_ENDIAN_PARTS), gzip.compress(pcapng(FRAMES))]


@settings(max_examples=400)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(1, 3),
)
def test_mutated_files_do_no_harm(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, changes: list[tuple[float, int]], shards: int
) -> None:
    """At most one error a file, frames that all lie in the file, and shards that agree with one reader alone."""
    data = bytearray(seed)
    for place, value in changes:
        data[int(place * len(data))] = value
    folder = tmp_path_factory.getbasetemp()
    alone = read_bytes(folder, bytes(data))
    assert len(alone.errors) <= 1
    if data[:2] != b"\x1f\x8b":
        assert all(frame.data in data for frame in alone.frames)
    shared = [read_files(folder / "capture", shard=n, shards=shards) for n in range(shards)]
    assert sorted(f for each in shared for f in each.data) == sorted(alone.data)
    assert [len(each.errors) for each in shared] == [len(alone.errors)] + [0] * (shards - 1)
