"""The contract suite of parsers sees what it is there for: each rule is broken once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from otus_core.testing.contract.parser import ParserContract
from tests.core.plugins.distributions import Site

DECLARES = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.Parser(name="suited", factory="suited_parts:Parser", payload_types=("suited",), ports=(9999,),
                           labels=("suited.word",), counters=("words",), failure_reasons=("empty",), summary="Words")
"""
PARTS = """
import otus_core


class Payload:
    def __init__(self, text):
        self._text = text
    def to_json(self):
        return self._text


class Parser(otus_core.BaseParser):
    def __init__(self, config):
        pass

    def wire(self, context):
        self._words = context.counter("words")
        {wire}

    def can_handle(self, packet):
        return 9999 in (packet.dst_port, packet.src_port)

    def handle(self, packet):
        self._words()
        if not packet.payload:
            raise otus_core.ParseError("empty")
        if packet.payload == b"both":
            return [otus_core.Parsed({{}}, {{"suited.word": "both"}}), otus_core.ParseError("empty")]
        word = packet.payload.hex()
        return {result}
"""
GOOD = 'otus_core.Parsed({"word": word}, {"suited.word": word})'


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ParserContract]]:
    """Make a suite for a parser that gives something, and samples with what they must give."""
    site = tmp_path / "site"
    site.mkdir()
    folder = tmp_path / "samples"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(site))

    class Suite(ParserContract):
        component = "suited"
        samples: ClassVar[Path] = folder

    def made(result: str = GOOD, wire: str = "pass", samples: tuple[tuple[bytes, object], ...] = ()) -> ParserContract:
        parts = PARTS.format(result=result, wire=wire)
        Site(folder=site).install("otus-plugin-suited", DECLARES, modules={"suited_parts": parts})
        for n, (payload, expected) in enumerate(samples or ((b"a", [{"suited.word": "61"}]),)):
            (folder / f"{n}.bin").write_bytes(payload)
            if expected is not None:
                (folder / f"{n}.json").write_text(json.dumps(expected))
        return Suite()

    yield made
    for name in ("otus_plugin_suited", "suited_parts"):
        sys.modules.pop(name, None)


def test_a_parser_that_keeps_the_rules_passes(suite: Callable[..., ParserContract]) -> None:
    samples = (
        (b"a", [{"suited.word": "61"}]),
        (b"", {"refused": "empty"}),
        (b"both", [{"suited.word": "both"}, {"refused": "empty"}]),
        (b"b", None),
    )
    suite(samples=samples).test_each_sample_gives_what_it_should()


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ('otus_core.Parsed({}, {"suited.wrod": word})', "not among the labels that are declared"),
        ('otus_core.Parsed({}, {"word": word})', "labels are named protocol.field"),
        ('otus_core.Parsed(Payload(b"{word"), {})', "this is not JSON on one line"),
        ('otus_core.Parsed(Payload("{}"), {})', "gave str, not bytes"),
        ('otus_core.Parsed({}, {"suited.word": 5})', "is int, not text"),
    ],
)
def test_one_that_breaks_a_rule_does_not(suite: Callable[..., ParserContract], result: str, complaint: str) -> None:
    with pytest.raises((AssertionError, TypeError, ValueError), match=complaint):
        suite(result).test_each_sample_gives_what_it_should()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", [{"suited.word": ""}]),
        (b"", {"refused": "something else"}),
        (b"", None),
        (b"a", {"refused": "empty"}),
        (b"both", [{"suited.word": "both"}]),
    ],
    ids=["refused, not read", "another reason", "nothing said of a refusal", "read, not refused", "half of it"],
)
def test_a_sample_that_gives_something_else_is_told(
    suite: Callable[..., ParserContract], payload: bytes, expected: object
) -> None:
    with pytest.raises(AssertionError):
        suite(samples=((payload, expected),)).test_each_sample_gives_what_it_should()


def test_a_counter_that_is_not_declared_is_told(suite: Callable[..., ParserContract]) -> None:
    with pytest.raises(ValueError, match="parser suited has no counter 'letters'; it declares words"):
        suite(wire='context.counter("letters")').test_each_sample_gives_what_it_should()
