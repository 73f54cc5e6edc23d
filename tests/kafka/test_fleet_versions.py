"""Versions of many nodes, compared: what is shown of 500 nodes, and of nodes that say odd things."""

from __future__ import annotations

from typing import Any

from otus_kafka.fleet_versions import NAMES_SHOWN, read_versions, show_versions

SAME = {"otus-core": "0.2.0", "otus-plugin-kafka": "0.2.0", "otus-plugin-sip": "0.2.0"}


def answers(count: int, **others: dict[str, Any]) -> dict[str, dict[str, Any]]:
    known = {f"edge-{n:03}": SAME for n in range(count)} | others
    return {node: {"result": {"versions": versions}} for node, versions in known.items()}


def test_the_same_everywhere_is_one_sentence() -> None:
    shown = show_versions(read_versions(answers(500), {}))
    assert shown == ["500 nodes run the same versions: otus-core 0.2.0 and 2 more distributions"]


def test_of_many_nodes_a_few_are_named_and_the_rarest_version_is_last() -> None:
    late = {"edge-x": {**SAME, "otus-core": "0.1.0"}, "edge-y": {"otus-core": "0.2.0"}, "edge-z": {**SAME, "more": "1"}}
    shown = show_versions(read_versions(answers(497, **late), {}))
    rows = [line.split(maxsplit=3) for line in shown[2:]]
    first = ", ".join(f"edge-{n:03}" for n in range(NAMES_SHOWN))
    assert rows == [
        ["otus-core", "0.2.0", "499", f"{first} and {499 - NAMES_SHOWN} more"],
        ["otus-core", "0.1.0", "1", "edge-x"],
        ["more", "none", "498", f"{first} and {498 - NAMES_SHOWN} more"],
        ["more", "1", "1", "edge-z"],
    ]


def test_a_node_that_says_nothing_of_versions_is_named() -> None:
    found = read_versions({"old": {"result": {"tasks": []}}, "failed": {"error": {"message": "no"}}}, {})
    assert show_versions(found) == []  # where nobody knows any there is nothing to compare
    found |= read_versions(answers(2), {})
    assert show_versions(found)[0] == "versions unknown: failed, old"


def test_a_terminal_is_not_controlled_by_a_version() -> None:
    hostile = {
        "bad": {"otus-core": "0.2.0\x1b[2J", "otus-plugin-sip": "0.2.0"},
        "odd": {"otus-core": ["0.2.0"], "": "1"},
    }
    shown = "\n".join(show_versions(read_versions(answers(1, **hostile), {})))
    assert "\x1b" not in shown
    assert "versions unknown: odd" in shown
