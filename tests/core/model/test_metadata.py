"""What a capturer says of a frame: checked, bounded, and labels of every message that comes of it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from otus_core import FRAME_INDEX_FORMAT, FrameBatch, FrameMetadata, OutputPacket, RawPacket, encode_json, packed_labels
from otus_core.pipeline.stored import restore, store
from otus_core.testing import packets
from otus_sip.config import SipConfig
from otus_sip.parser import SipParser
from tests.core.pipeline.test_loop import Bench, Echo
from tests.sip.messages import message

NODE = {"node": "edge-1", "tap": "core switch"}


def batch(*sets: Mapping[str, str] | None, payload: bytes = b"x") -> FrameBatch:
    return FrameBatch.from_frames(
        [RawPacket(packets.udp(payload), n, metadata=one) for n, one in enumerate(sets, 1)]  # type: ignore[arg-type]
    )


def outputs(frames: FrameBatch, parser: Any = None) -> list[OutputPacket]:
    bench = Bench(parser or Echo())
    bench.pipeline.process(frames, 0, 512, 10**9)
    return list(bench.buffer.take(1000))


def test_equal_metadata_of_a_batch_are_one() -> None:
    frames = batch(NODE, None, {"node": "edge-2"}, dict(NODE))
    assert [frame.metadata and dict(frame.metadata.fields) for frame in frames] == [
        NODE,
        None,
        {"node": "edge-2"},
        NODE,
    ]
    assert len(frames.metadata) == 2


def test_metadata_become_labels_of_those_frames_that_have_any() -> None:
    with_any, without = outputs(batch(NODE, None))
    assert with_any.labels == {"text": "x", "capture.node": "edge-1", "capture.tap": "core switch"}
    assert with_any.label("capture.node") == "edge-1"
    assert without.labels == {"text": "x"}
    assert b'"capture.node":"edge-1"' in encode_json(with_any)
    assert restore(store(with_any)).labels == with_any.labels


def test_a_parser_sees_them_and_may_keep_the_packet() -> None:
    held: list[Any] = []

    def keep(packet: Any) -> list[Any]:
        held.append((packet, dict(packet.metadata)))
        return []

    outputs(batch(NODE, None, {"correlation_id": "c"}), Echo(keep))
    assert [early for _, early in held] == [NODE, {}, {"correlation_id": "c"}]
    assert [dict(packet.metadata) for packet, _ in held] == [NODE, {}, {"correlation_id": "c"}]
    with pytest.raises(TypeError):
        held[0][0].metadata["node"] = "another"


def test_labels_that_are_made_when_asked_for_have_them_too() -> None:
    sip = SipParser(SipConfig())
    (output,) = outputs(batch(NODE, payload=message()), sip)
    assert output.label("capture.node") == "edge-1"
    assert output.label("sip.method") == "OPTIONS"
    assert output.label("capture.nothing") is None
    packed = packed_labels(output)
    assert packed is not None
    assert b"capture.tapcore switch" in packed
    lines = encode_json(output)
    assert (output.labels["capture.tap"], output.labels["sip.method"]) == ("core switch", "OPTIONS")
    assert encode_json(output) == lines


def test_the_labels_of_a_parser_are_left_as_they_are() -> None:
    shared = {"text": "same"}

    def parse(_packet: Any) -> Any:
        from otus_core import Parsed

        return Parsed(None, shared)

    assert [output.label("capture.node") for output in outputs(batch(NODE, None), Echo(parse))] == ["edge-1", None]
    assert shared == {"text": "same"}


def test_texts_are_bounded_and_sound() -> None:
    fields = FrameMetadata({"node": "x" * 1000, "tap": "a\udc80b", "empty": ""}).fields
    assert (len(fields["node"]), fields["tap"], "empty" in fields) == (256, "a?b", False)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"Node": "x"}, ValueError),
        ({"no.de": "x"}, ValueError),
        ({"n" * 33: "x"}, ValueError),
        ({1: "x"}, ValueError),
        ({"node": 1}, TypeError),
        ({"node": None}, TypeError),
        ({f"n{n}": "x" for n in range(17)}, ValueError),
        (5, TypeError),
    ],
    ids=["upper case", "dot", "long", "number", "value", "none", "many", "no mapping"],
)
def test_what_cannot_be_is_refused(fields: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        FrameMetadata(fields)


def index(places: Iterable[int]) -> bytes:
    return b"".join(struct.pack(FRAME_INDEX_FORMAT, n, 0, 1, 1, 0, 1, place) for n, place in enumerate(places))


def test_a_record_that_names_metadata_that_are_not_there_is_refused() -> None:
    made = FrameBatch(b"x", index([0, 1, 2, 1]), metadata=[{"node": "a"}, FrameMetadata({"node": "b"})])
    assert [frame.metadata and frame.metadata.fields["node"] for frame in made] == [None, "a", "b", "a"]
    with pytest.raises(ValueError, match="names metadata 3"):
        FrameBatch(b"x", index([3]), metadata=[{"node": "a"}, {"node": "b"}])


def test_every_frame_of_a_batch_may_have_its_own() -> None:
    one = FrameMetadata({"node": "a"})
    assert FrameBatch(b"x", index([65535]), metadata=[one] * 65535)[0].metadata is one
    with pytest.raises(ValueError, match="at most 65535"):
        FrameBatch(b"x", index([0]), metadata=[one] * 65536)
