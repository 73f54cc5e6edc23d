"""Labels: a dict, or a source that makes them when somebody asks."""

from __future__ import annotations

from typing import Any

import pytest

from otus_core import OutputPacket, Parsed, encode_json
from tests.core.pipeline.test_loop import Bench, Echo


class Source:
    """A source of labels that knows how often it was asked for all of them."""

    def __init__(self, labels: Any) -> None:
        self.answer = labels
        self.asked = 0

    def label(self, name: str) -> str | None:
        return self.answer.get(name)  # type: ignore[no-any-return]

    def labels(self) -> Any:
        self.asked += 1
        return dict(self.answer) if isinstance(self.answer, dict) else self.answer


class Keeper:
    """A processor that looks at one label."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[str | None] = []

    def process(self, output: OutputPacket) -> bool:
        self.seen.append(output.label(self.name))
        return True


def output_of(labels: Any, processor: Any = None) -> OutputPacket:
    (output,) = Bench(Echo(Parsed(None, labels)), processor).feed([b"x"])
    return output


def test_one_label_is_answered_without_making_the_others() -> None:
    source, keeper = Source({"x.a": "1", "x.b": "2"}), Keeper("x.b")
    output = output_of(source, keeper)
    assert (keeper.seen, source.asked) == (["2"], 0)
    assert output.label("x.c") is None
    assert output.labels == {"x.a": "1", "x.b": "2"}
    assert output.labels is output.labels
    assert source.asked == 1


def test_what_a_processor_changes_is_what_label_answers() -> None:
    output = output_of(Source({"x.a": "1"}))
    output.labels["x.b"] = "2"
    del output.labels["x.a"]
    assert (output.label("x.a"), output.label("x.b")) == (None, "2")
    output.labels = {"x.c": "3"}
    assert (output.label("x.b"), output.label("x.c")) == (None, "3")
    assert b'"labels":{"x.c":"3"}' in encode_json(output)


def test_a_dict_answers_label_too() -> None:
    output = OutputPacket(labels={"x.a": "1"})
    assert (output.label("x.a"), output.label("x.b")) == ("1", None)


@pytest.mark.parametrize("labels", [None, ["x.a"], "x.a", 5], ids=["None", "list", "text", "number"])
def test_labels_that_are_neither_a_dict_nor_a_source_are_refused(labels: Any) -> None:
    with pytest.raises(TypeError):
        Parsed(None, labels)


def test_a_source_that_gives_no_dict_is_told_of() -> None:
    with pytest.raises(TypeError, match="labels\\(\\) gave list"):
        _ = output_of(Source(["x.a"])).labels


def test_a_message_is_the_source_of_its_labels() -> None:
    parsed = Parsed(None, source := Source({"x.a": "1"}))
    assert parsed.labels == {"x.a": "1"}
    assert parsed.labels is parsed.labels
    assert source.asked == 1


class Packed(Source):
    """A source that also gives its labels packed, as it likes."""

    def __init__(self, packed: bytes) -> None:
        super().__init__({})
        self.packed = packed

    def packed_labels(self) -> bytes:
        return self.packed


def lengths(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)


SOUND = lengths(3, 1) + b"x.a1"
CUT = {
    "half a head": SOUND + lengths(3),
    "a head alone": SOUND + lengths(3, 1),
    "a text that ends early": SOUND + lengths(3, 2) + b"x.b2",
    "a name that ends early": SOUND + lengths(5, 0) + b"x.b2",
    "lengths whose sum is beyond 32 bits": SOUND + lengths(2**32 - 1, 5) + b"x.b2",
    "the longest": SOUND + lengths(2**32 - 1, 2**32 - 1) + b"x.b2",
}


def test_packed_labels_are_written_as_they_are() -> None:
    assert b'"labels":{"x.a":"1","x.a":"1"}' in encode_json(output_of(Packed(SOUND + SOUND)))


@pytest.mark.parametrize("packed", CUT.values(), ids=CUT)
def test_packed_labels_are_not_read_beyond_their_end(packed: bytes) -> None:
    """A plugin makes them: what their lengths say is not believed."""
    with pytest.raises(ValueError, match="cut short"):
        encode_json(output_of(Packed(packed)))
