"""What a task's components must fit together for: told when the task is checked, not when it runs."""

from __future__ import annotations

from typing import Any

import pytest

from otus_core import ConfigInvalid
from otus_core.plugins.loader import load
from otus_core.plugins.registry import Registry
from otus_core.task.config import load_task
from otus_core.task.spec import TaskConfig


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


def loaded(registry: Registry, fallbacks: dict[str, str | None]) -> TaskConfig:
    """Read a task whose reporters have these fallbacks."""
    reporters: list[dict[str, Any]] = []
    for name, fallback in fallbacks.items():
        given = {"id": name, "type": "discard"}
        reporters.append(given if fallback is None else {**given, "fallback": fallback})
    return load_task(
        {"id": "t", "capture": {"type": "pcap", "files": ["x"]}, "parsers": ["sip"], "reporters": reporters}, registry
    )


@pytest.mark.parametrize(
    ("fallbacks", "circle"),
    [
        pytest.param({"a": "a"}, {"a"}, id="A to itself"),
        pytest.param({"a": "b", "b": "a"}, {"a", "b"}, id="A to B to A"),
        pytest.param({"a": "b", "b": "c", "c": "a"}, {"a", "b", "c"}, id="A to B to C to A"),
        pytest.param({"a": "b", "b": "c", "c": "b"}, {"b", "c"}, id="A into a circle"),
        pytest.param({"a": "b", "b": "b", "c": None}, {"b"}, id="A to one that is its own"),
    ],
)
def test_fallbacks_that_lead_back_are_refused(
    registry: Registry, fallbacks: dict[str, str | None], circle: set[str]
) -> None:
    """Packets would go round for ever; each reporter of the circle is told, and no other."""
    with pytest.raises(ConfigInvalid) as caught:
        loaded(registry, fallbacks)
    told = {problem.path: str(problem) for problem in caught.value.problems}
    assert set(told) == {f"reporters[{list(fallbacks).index(name)}].fallback" for name in circle}
    assert all("somebody must be the last" in text for text in told.values())


@pytest.mark.parametrize(
    "fallbacks",
    [
        {"a": "b", "b": "c", "c": None},
        {"a": "c", "b": "c", "c": None},
        {"a": "d", "b": "d", "c": "b", "d": None},
    ],
    ids=["a chain", "two to one", "a tree"],
)
def test_fallbacks_that_end_somewhere_are_taken(registry: Registry, fallbacks: dict[str, str | None]) -> None:
    config = loaded(registry, fallbacks)
    assert {spec.id: spec.fallback for spec in config.reporters} == fallbacks


def test_a_fallback_that_is_not_there_is_told_with_what_there_is(registry: Registry) -> None:
    with pytest.raises(ConfigInvalid, match="no reporter with the id 'spar'; did you mean spare"):
        loaded(registry, {"a": "spar", "spare": None})
