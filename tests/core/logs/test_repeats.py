"""What packets make components raise is logged at a bounded rate, with how often it happened."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from otus_core.logs import repeats
from otus_core.logs.repeats import KINDS_MAX, Repeats
from otus_core.model.text import printable


def test_the_first_is_told_and_then_their_number(logged: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    told = Repeats({"parser:sip": ("otus-plugin-sip", "0.1.0")})
    for _ in range(1000):
        told.note_error("parser", "sip", ValueError("bad"))
    (event,) = logged
    assert (event["component"], event["plugin"], event["version"]) == ("sip", "otus-plugin-sip", "0.1.0")
    assert event["error"] == "ValueError: bad"
    monkeypatch.setattr(repeats, "QUIET_S", 0.0)
    told.note_error("parser", "sip", ValueError("bad"))
    assert [entry.get("repeated") for entry in logged] == [None, 999]


def test_an_error_is_told_with_the_last_place_outside_the_core(logged: list[Any]) -> None:
    told = Repeats({})
    try:
        printable(5)  # type: ignore[arg-type]
    except AttributeError as error:
        told.note_error("parser", "sip", error)
    told.note_error("parser", "sip", KeyError("never raised"))
    assert logged[0]["at"].startswith("test_repeats.py:")
    assert "at" not in logged[1]


def test_errors_are_told_apart_up_to_a_bound(logged: list[Any]) -> None:
    told = Repeats({})
    for n in range(10 * KINDS_MAX):
        told.note_error("parser", "sip", type(f"Error{n}", (Exception,), {})())
    assert len(logged) == KINDS_MAX + 1


def test_components_and_kinds_of_errors_are_counted_apart(logged: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is that of the errors that were not told: two of this kind, none of the others."""
    told = Repeats({})
    for kind, name, error in (
        ("parser", "sip", ValueError("a")),
        ("parser", "sip", ValueError("b")),
        ("parser", "sip", KeyError("a")),
        ("parser", "dns", ValueError("a")),
        ("processor", "sip", ValueError("a")),
        ("parser", "sip", ValueError("c")),
    ):
        told.note_error(kind, name, error)
    assert [(entry["kind"], entry["component"], entry["error"]) for entry in logged] == [
        ("parser", "sip", "ValueError: a"),
        ("parser", "sip", "KeyError: 'a'"),
        ("parser", "dns", "ValueError: a"),
        ("processor", "sip", "ValueError: a"),
    ]
    monkeypatch.setattr(repeats, "QUIET_S", 0.0)
    for name in ("sip", "dns"):
        told.note_error("parser", name, ValueError("d"))
    told.note_error("parser", "sip", ValueError("e"))
    assert [entry.get("repeated") for entry in logged[4:]] == [2, None, None]


def test_the_first_is_told_right_after_the_machine_has_started_too(
    logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock counts from there: a second after it nothing has been told a short while ago."""
    monkeypatch.setattr(repeats, "time", SimpleNamespace(monotonic=lambda: 1.0))
    Repeats({}).note_error("parser", "sip", ValueError("bad"))
    assert len(logged) == 1


def test_the_place_of_a_fault_is_where_the_plugin_called_the_core() -> None:
    code = compile("import otus_core\notus_core.Record('x', None, 1, src_ip='192.0.2.1')\n", "/plugins/acme.py", "exec")
    with pytest.raises(ValueError, match="give both") as caught:
        exec(code, {})
    assert repeats._place(caught.value) == {"at": "acme.py:2"}
