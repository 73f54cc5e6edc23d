"""Exceptions made to hurt: whatever a component raises is counted, named and contained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otus_core.model.text import tell
from tests.core.plugins.distributions import Site
from tests.e2e.test_components import run

DECLARED = """
    import otus_core
    from cruel_kinds import KINDS

    @otus_core.configuration
    class Kind:
        kind: str = otus_core.option(default="", help="What is raised.")

    @otus_core.hookimpl
    def otus_components():
        yield otus_core.Parser(name="cruel", factory="cruel_parts:Parser", config=Kind, payload_types=("x",),
                               priority=1)
        yield otus_core.Processor(name="cruel", factory="cruel_parts:Processor", config=Kind)
        yield otus_core.Reporter(name="cruel", factory="cruel_parts:Reporter", config=Kind)
        yield otus_core.Processor(name="unmade", factory="cruel_parts:unmade", config=Kind)
"""
KINDS = """
    import asyncio

    class Mute(Exception):
        def __str__(self): raise RuntimeError("no text")
        __repr__ = __format__ = __str__

    class Exits(Exception):
        def __str__(self): raise SystemExit(7)

    class NoText(Exception):
        def __str__(self): return 5

    class Sly(str):
        def __getitem__(self, at): raise ValueError
        split = isprintable = encode = __getitem__

    class SlyText(Exception):
        def __str__(self): return Sly("sly")

    class Lying(type):
        @property
        def __name__(cls): raise ValueError("no name")

    class Nameless(Exception, metaclass=Lying): pass
    class Base(BaseException): pass

    KINDS = {
        "mute": Mute, "exits": Exits, "no-text": NoText, "sly": SlyText, "nameless": Nameless, "base": Base,
        "interrupt": KeyboardInterrupt,
        "exit": SystemExit, "generator": GeneratorExit, "cancelled": asyncio.CancelledError, "stop": StopIteration,
        "memory": MemoryError,
    }
"""
PARTS = """
    import otus_core
    from cruel_kinds import KINDS

    class Parser(otus_core.BaseParser):
        def __init__(self, config): self._kind = KINDS[config.kind]
        def can_handle(self, packet): return True
        def handle(self, packet): raise self._kind()

    class Processor(otus_core.BaseProcessor):
        def __init__(self, config): self._kind = KINDS[config.kind]
        def process(self, output): raise self._kind()

    class Reporter(otus_core.BaseReporter):
        def __init__(self, config): self._kind = KINDS[config.kind]
        async def report(self, batch): raise self._kind()

    def unmade(config): raise KINDS[config.kind]()
"""
NAMES = (
    "mute", "exits", "no-text", "sly", "nameless", "base", "interrupt", "exit", "generator", "cancelled", "stop",
    "memory"
)  # fmt: skip
PACKETS = 7


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-cruel", DECLARED, modules={"cruel_parts": PARTS, "cruel_kinds": KINDS})
    return site


def cruel(kind: str, name: str = "cruel") -> dict[str, Any]:
    return {"type": name, "config": {"kind": kind}}


@pytest.mark.parametrize("kind", ["mute", "sly", "nameless", "base", "interrupt", "stop"])
def test_raised_by_a_parser_it_costs_its_packet(site: Site, examples: Path, kind: str) -> None:
    status, out, err, counted = run(site, examples, parsers=[cruel(kind)])
    assert (status, out, counted["dropped"]) == (1, [], {"parse_error:cruel": PACKETS})
    assert [line for line in err if "component_error" in line and "component=cruel" in line]


@pytest.mark.parametrize("kind", NAMES)
def test_raised_by_a_processor_it_costs_its_packet(site: Site, examples: Path, kind: str) -> None:
    status, _, err, counted = run(site, examples, processors=[cruel(kind)])
    assert (status, counted["dropped"]) == (1, {"processor_error:cruel": PACKETS})
    assert [line for line in err if "component_error" in line and "component=cruel" in line]


@pytest.mark.parametrize("kind", ["mute", "exits", "base", "interrupt", "cancelled"])
def test_raised_by_a_reporter_it_costs_its_batch(site: Site, examples: Path, kind: str) -> None:
    _, _, err, counted = run(site, examples, reporters=[{**cruel(kind), "max_retries": 0}])
    (terms,) = counted["reporters"].values()
    assert sum(terms["dropped"].values()) == PACKETS
    assert [line for line in err if "component=cruel" in line]


@pytest.mark.parametrize("kind", ["mute", "nameless", "base", "interrupt"])
def test_raised_while_a_component_is_made_it_ends_the_run_with_its_name(site: Site, examples: Path, kind: str) -> None:
    status, _, err, _ = run(site, examples, processors=[cruel(kind, "unmade")])
    assert status == 1
    assert err[-1].startswith("otus: processor unmade could not be constructed: ")


def test_workers_live_on(site: Site, examples: Path) -> None:
    """Its worker would die of it else, and the next one too."""
    status, _, _, counted = run(site, examples, processors=[cruel("exits")], workers=2)
    assert (status, counted["dropped"]) == (1, {"processor_error:cruel": PACKETS})


def test_what_is_told_is_one_printable_line() -> None:
    assert tell(ValueError("a\n\x1b[31mb")) == "ValueError: a \\x1b[31mb"
    assert tell(ValueError()) == "ValueError"
    assert len(tell(ValueError("x" * 10_000))) == 1000
