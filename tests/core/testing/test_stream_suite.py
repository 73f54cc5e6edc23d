"""The contract suite passes a parser with streams, and fails each that says wrongly where messages end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import otus_core
from otus_core import DecodedPacket, Parsed, ParseError, Parser
from otus_core.declarations import NoConfig
from otus_core.testing.contract import ParserContract
from tests.core.testing.suites import failing


class Boxes(otus_core.BaseParser):
    """Messages that begin with ``BOX1`` and their size in four bytes."""

    def __init__(self, config: NoConfig) -> None:
        self.asked = 0

    def frame(self, data: bytes, at: int) -> int:
        if not data.startswith(b"BOX1"[: len(data) - at], at):
            return -1
        return 8 + int.from_bytes(data[at + 4 : at + 8]) if len(data) - at >= 8 else 0

    def resync(self, data: bytes, at: int) -> int:
        return data.find(b"BOX1", at)

    def take(self, packet: DecodedPacket) -> Any:
        if not packet.reassembled:
            return None
        if packet.payload_len < 8:
            raise ParseError("no head")
        return Parsed({"size": packet.payload_len}, {"box.size": str(packet.payload_len)})


class OneTooMany(Boxes):
    def frame(self, data: bytes, at: int) -> int:
        size = super().frame(data, at)
        return size + 1 if size > 0 else size


class NeedsTheHead(Boxes):
    """Says that none begins where only a part of the head is there."""

    def frame(self, data: bytes, at: int) -> int:
        return super().frame(data, at) or -1


class Forgets(Boxes):
    """Looks at the beginning of the data, not at where it is asked."""

    def frame(self, data: bytes, at: int) -> int:
        return super().frame(data, 0)


class FindsNothing(Boxes):
    def resync(self, data: bytes, at: int) -> int:
        return -1


class FindsTheLast(Boxes):
    def resync(self, data: bytes, at: int) -> int:
        return len(data)


class GoesBack(Boxes):
    def resync(self, data: bytes, at: int) -> int:
        return data.find(b"BOX1")


class Raises(Boxes):
    def frame(self, data: bytes, at: int) -> int:
        if data[at : at + 4] != b"BOX1":
            raise ValueError("no box")
        return super().frame(data, at)


class CountsItsCalls(Boxes):
    def frame(self, data: bytes, at: int) -> int:
        self.asked += 1
        return super().frame(data, at) if self.asked % 100 else 0


class TakesTheSquare(Boxes):
    def resync(self, data: bytes, at: int) -> int:
        while at < len(data):
            if data[at:].startswith(b"BOX1"):
                return at
            at += 1
        return -1


class GivesText(Boxes):
    def resync(self, data: bytes, at: int) -> Any:
        return str(super().resync(data, at))


CUT, BEHIND, PURE = (
    "test_messages_are_the_same_however_they_are_cut",
    "test_a_message_behind_others_bytes_is_found",
    "test_framing_is_pure_and_takes_any_bytes",
)
MUTANTS: dict[str, tuple[type[Boxes], str]] = {
    "takes one byte too many": (OneTooMany, CUT),
    "wants a whole head": (NeedsTheHead, CUT),
    "looks at the beginning": (Forgets, CUT),
    "finds nothing again": (FindsNothing, BEHIND),
    "finds what is behind the end": (FindsTheLast, PURE),
    "goes back": (GoesBack, PURE),
    "raises": (Raises, PURE),
    "depends on its calls": (CountsItsCalls, PURE),
    "takes the square of the time": (TakesTheSquare, "test_framing_takes_time_in_proportion"),
    "gives text": (GivesText, PURE),
}


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    folder = tmp_path / "samples"
    folder.mkdir()
    for n, size in enumerate((0, 5, 40)):
        (folder / f"{n}.bin").write_bytes(b"BOX1" + size.to_bytes(4) + b"x" * size)
        (folder / f"{n}.json").write_text(f'[{{"box.size": "{size + 8}"}}]')
    return folder


def found_in(component: type, samples: Path, **more: Any) -> set[str]:
    about = {"name": "box", "factory": component, "payload_types": ("box",), "streams": ("tcp",), "ports": (7777,)}
    declaration = Parser(**{**about, "transports": ("tcp",), "summary": "Boxes", **more})  # type: ignore[arg-type]
    return failing(ParserContract, declaration, samples.parent, samples=samples)


def test_a_good_one_passes(samples: Path) -> None:
    assert found_in(Boxes, samples) == set()


@pytest.mark.parametrize(("component", "expected"), MUTANTS.values(), ids=MUTANTS)
def test_each_broken_rule_is_found(component: type, expected: str, samples: Path) -> None:
    assert expected in found_in(component, samples)


def test_samples_without_a_whole_message_prove_nothing(samples: Path) -> None:
    for file in samples.glob("*.bin"):
        file.write_bytes(file.read_bytes()[:-1])
    assert CUT in found_in(Boxes, samples)
