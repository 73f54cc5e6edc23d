"""Frame batches: an index that is checked against its buffer."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core import FrameBatch, RawPacket
from otus_core.model.frames import FRAME_INDEX_FORMAT, INDEX_SIZE


@given(st.lists(st.tuples(st.integers(0, 2**62), st.binary(max_size=50))))
def test_frames_come_back_from_a_batch(frames: list[tuple[int, bytes]]) -> None:
    batch = FrameBatch.from_frames(frames, link_type=113, interface_index=3)
    assert [(raw.timestamp, raw.data) for raw in batch] == frames
    assert all((raw.link_type, raw.interface_index) == (113, 3) for raw in batch)
    assert len(batch) == len(frames)


def test_a_raw_packet_keeps_its_original_length() -> None:
    (raw,) = FrameBatch.from_frames([RawPacket(b"abc", 5, orig_len=1500)])
    assert (raw.capture_len, raw.orig_len) == (3, 1500)


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 5), (5, 0), (2**63, 1), (3, 2), (4, 1)], ids=["long", "behind", "huge", "over", "at end"]
)
def test_a_record_outside_the_buffer_is_refused(offset: int, length: int) -> None:
    record = struct.pack(FRAME_INDEX_FORMAT, 0, offset, length, length, 0, 1, 0)
    with pytest.raises(ValueError, match="outside the buffer"):
        FrameBatch(b"abcd", record)


def test_only_the_records_counted_are_looked_at() -> None:
    good = struct.pack(FRAME_INDEX_FORMAT, 9, 1, 2, 2, 0, 1, 0)
    batch = FrameBatch(b"abcd", good + b"\xff" * INDEX_SIZE, 1)
    assert [raw.data for raw in batch] == [b"bc"]
    with pytest.raises(ValueError, match="does not fit"):
        FrameBatch(b"abcd", good, 2)
    with pytest.raises(IndexError):
        batch[1]


@pytest.mark.parametrize("frame", [b"\x00" * 60, b"ab", (1, 2), (b"ab", 1), (1, b"a", 60), 5], ids=repr)
def test_what_is_no_frame_is_refused(frame: object) -> None:
    with pytest.raises(TypeError):
        FrameBatch.from_frames([frame])  # type: ignore[list-item]
