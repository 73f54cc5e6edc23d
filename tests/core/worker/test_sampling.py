"""What a worker logs of its components' circuits: that one opens, that it closes, and nothing while it stays."""

from __future__ import annotations

from typing import Any

import pytest

from otus_core.worker.sampling import tell_circuit


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("closed", "open", [("warning", "circuit_opened")]),
        ("closed", "half_open", [("warning", "circuit_opened")]),
        ("open", "closed", [("info", "circuit_closed")]),
        ("half_open", "closed", [("info", "circuit_closed")]),
        ("open", "half_open", [("debug", "circuit")]),
        ("half_open", "open", [("debug", "circuit")]),
        *((state, state, []) for state in ("closed", "half_open", "open")),
    ],
)
def test_a_change_of_a_circuit_is_told_once(logged: list[Any], old: str, new: str, told: list[Any]) -> None:
    tell_circuit("parser:sip", old, new)
    assert [(entry["log_level"], entry["event"]) for entry in logged] == told
    assert all(entry["component"] == "parser:sip" for entry in logged)
