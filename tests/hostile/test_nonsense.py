"""Components that answer nonsense, or a command that ends the process: what they answer for is counted, they are named,
and the run ends well.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.plugins.distributions import Site
from tests.e2e.test_components import run

DECLARED = """
    import otus_core

    @otus_core.configuration
    class Kind:
        kind: str = otus_core.option(default="nonsense", help="What goes wrong.")

    @otus_core.hookimpl
    def otus_components():
        yield otus_core.Parser(name="mad", factory="mad_parts:Parser", config=Kind, payload_types=("x",), priority=1)
        yield otus_core.Processor(name="mad", factory="mad_parts:Processor", config=Kind)
        yield otus_core.Reporter(name="mad", factory="mad_parts:Reporter", config=Kind)
"""
PARTS = """
    import os
    import otus_core

    class Mad:
        def __bool__(self): raise ValueError("neither")
        __len__ = __iter__ = __index__ = __int__ = __hash__ = __eq__ = __bool__

    NONSENSE = (5, "text", Mad(), [None], [Mad()], [otus_core.Parsed({}, {})] * 5000, ..., b"")

    class Parser(otus_core.BaseParser):
        def __init__(self, config): self._n, self._kind = 0, config.kind
        def can_handle(self, packet): return Mad() if self._kind == "undecided" else True
        def handle(self, packet):
            if self._kind == "exit": os._exit(0)
            self._n += 1
            return NONSENSE[self._n % len(NONSENSE)]

    class Processor(otus_core.BaseProcessor):
        def __init__(self, config): self._n = 0
        def process(self, output): return Mad()

    class Reporter(otus_core.BaseReporter):
        def __init__(self, config): self._kind = config.kind
        async def report(self, batch): return {"nonsense": "text", "mad": Mad(), "many": [Mad()] * 10_000}[self._kind]
"""
PACKETS = 7


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-mad", DECLARED, modules={"mad_parts": PARTS})
    return site


def named(errors: list[str]) -> list[str]:
    return [line for line in errors if "component=mad" in line]


def test_of_a_parser_it_costs_its_packets(site: Site, examples: Path) -> None:
    status, out, err, counted = run(site, examples, parsers=["mad"])
    assert (status, out) == (1, [])  # everything failed
    assert sum(counted["dropped"].values()) == PACKETS, counted
    assert named(err)


def test_a_parser_that_cannot_say_yes_or_no_is_passed_by(site: Site, examples: Path) -> None:
    status, out, err, counted = run(site, examples, parsers=[{"type": "mad", "config": {"kind": "undecided"}}, "sip"])
    assert (
        status,
        counted["dropped"].get("unmatched", 0) + len(out) + counted["dropped"].get("parse_error:mad", 0),
    ) == (0, PACKETS)
    assert named(err)


def test_of_a_processor_it_costs_its_packets(site: Site, examples: Path) -> None:
    status, out, err, counted = run(site, examples, processors=["mad"])
    assert (status, out, counted["dropped"]) == (1, [], {"processor_error:mad": PACKETS})
    assert named(err)


@pytest.mark.parametrize("kind", ["nonsense", "mad", "many"])
def test_of_a_reporter_it_costs_its_batch(site: Site, examples: Path, kind: str) -> None:
    status, _, err, counted = run(
        site, examples, reporters=[{"type": "mad", "config": {"kind": kind}, "max_retries": 0}]
    )
    (terms,) = counted["reporters"].values()
    assert (status, sum(terms["dropped"].values())) == (1, PACKETS), counted
    assert named(err)


def test_a_parser_that_ends_its_process_ends_the_run_and_is_named(site: Site, examples: Path) -> None:
    parsers = [{"type": "mad", "config": {"kind": "exit"}}]
    status, _, err, _ = run(site, examples, parsers=parsers, reporters=["discard"], workers=2)
    assert status == 1
    assert [line for line in err if "died: exit status 0 in parser:mad" in line]
