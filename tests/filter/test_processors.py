"""The processors as a task has them: configured, wired, and given messages."""

from __future__ import annotations

import time
from types import BuiltinMethodType
from typing import Any

import pytest

from otus_core import ConfigInvalid, Context
from otus_core.config.converter import structure
from otus_core.config.schema import schema
from otus_filter.config import FilterConfig, LabelConfig
from otus_filter.filter import Filter
from otus_filter.label import Label
from tests.filter.outputs import output


def kept(config: dict[str, Any], labels: dict[str, str]) -> bool:
    return Filter(structure(FilterConfig, config)).process(output(labels))


INVITE = {"sip.method": "INVITE", "sip.cseq_method": "INVITE"}
OPTIONS = {"sip.method": "OPTIONS", "sip.cseq_method": "OPTIONS"}
ANSWER = {"sip.status_code": "200", "sip.cseq_method": "OPTIONS"}
KEEP_INVITE = {"label": "sip.method", "values": ["INVITE", "ACK"], "action": "keep"}
DROP_200 = {"label": "sip.status_code", "values": [200], "action": "drop"}


@pytest.mark.parametrize(
    ("config", "invite", "options", "answer"),
    [
        ({}, True, True, True),
        ({"drop_if": "sip.method == 'OPTIONS'"}, True, False, True),
        ({"drop_if": "sip.cseq_method == 'OPTIONS'"}, True, False, False),
        ({"keep_if": "sip.method == 'OPTIONS'"}, False, True, False),
        ({"drop_if": "sip.method == 'OPTIONS'", "keep_if": "sip.cseq_method == 'OPTIONS'"}, False, False, True),
        ({"rules": [KEEP_INVITE], "drop_if": "src_port == 5060"}, True, False, False),
        ({"rules": [DROP_200], "keep_if": "sip.cseq_method == 'OPTIONS'"}, False, True, False),
        ({"rules": [KEEP_INVITE, {**KEEP_INVITE, "action": "drop"}]}, True, True, True),
        ({"rules": [{**KEEP_INVITE, "action": "drop"}, KEEP_INVITE]}, False, True, True),
    ],
)
def test_rules_then_drop_if_then_keep_if(config: dict[str, Any], invite: bool, options: bool, answer: bool) -> None:
    assert [kept(config, labels) for labels in (INVITE, OPTIONS, ANSWER)] == [invite, options, answer]


def test_everything_wrong_is_told_at_once_with_its_path() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        structure(FilterConfig, {"drop_if": "a.b = 1", "keep_if": "("}, "processors[0].config")
    assert [(problem.path, problem.message.split("\n")[0]) for problem in caught.value.problems] == [
        ("processors[0].config.drop_if", "at column 5: = is not an operator; equality is written =="),
        ("processors[0].config.keep_if", "at column 2: expected a field or a label, found the end"),
    ]


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"label": "a.b", "values": [], "action": "keep"}, "rules[0].values"),
        ({"label": "a.b", "values": ["x"], "action": "pass"}, "rules[0].action"),
        ({"label": "", "values": ["x"], "action": "keep"}, "rules[0].label"),
        ({"label": "a.b", "values": [True], "action": "keep"}, "rules[0].values[0]"),
        ({"label": "a.b", "values": ["x"]}, "rules[0].action"),
    ],
)
def test_a_wrong_rule_is_refused(rule: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        structure(FilterConfig, {"rules": [rule]})
    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize("cls", [FilterConfig, LabelConfig])
def test_the_configuration_has_a_schema(cls: type) -> None:
    assert schema(cls)["properties"]


def test_a_filter_costs_little() -> None:
    """Held as a ratio to a function that does nothing, so that any machine will do."""
    process = Filter(FilterConfig(drop_if="sip.method == 'OPTIONS'")).process
    message = output()
    assert min(_cost(process, message) / _cost(lambda _message: True, message) for _ in range(7)) < 3


def test_a_message_costs_one_call_of_a_compiled_method() -> None:
    assert isinstance(Filter(FilterConfig()).process, BuiltinMethodType)


@pytest.mark.parametrize(("value", "keeps"), [("5", True), ("1" * 30, False), ("x", False)])
def test_a_rule_may_have_any_integer(value: str, keeps: bool) -> None:
    rule = {"label": "x", "values": [5, 10**30, int("1" * 30)], "action": "keep"}
    assert kept({"rules": [rule], "drop_if": "src_port == 5060"}, {"x": value}) is keeps


def _cost(function: Any, argument: object) -> float:
    begun = time.process_time()
    for _ in range(20_000):
        function(argument)
    return time.process_time() - begun


def labelled(config: dict[str, Any], labels: dict[str, str] | None = None, **context: Any) -> dict[str, str]:
    processor = Label(structure(LabelConfig, config))
    processor.wire(Context(task_id="t", agent_id="a", **context))
    message = output(labels)
    assert processor.process(message) is True
    return message.labels


NODE: dict[str, Any] = {"hostname": "edge-1", "node_ip": "192.0.2.1", "tags": {"rack": "r7", "dc": "bj"}}


@pytest.mark.parametrize(
    ("config", "node", "expected"),
    [
        ({}, NODE, {}),
        ({"labels": {"node.site": "beijing", "x": "1"}}, NODE, {"node.site": "beijing", "x": "1"}),
        ({"hostname": "node.name", "node_ip": "node.ip"}, NODE, {"node.name": "edge-1", "node.ip": "192.0.2.1"}),
        ({"tags": {"rack": "node.rack"}}, NODE, {"node.rack": "r7"}),
        ({"hostname": "node.name", "node_ip": "node.ip", "tags": {"rack": "r"}}, {"hostname": "h"}, {"node.name": "h"}),
    ],
    ids=["nothing", "static", "node", "tag", "absent, not empty"],
)
def test_label_adds(config: dict[str, Any], node: dict[str, Any], expected: dict[str, str]) -> None:
    assert labelled(config, {"sip.method": "BYE"}, **node) == {"sip.method": "BYE", **expected}


def test_labels_are_added_only_when_the_expression_holds() -> None:
    processor = Label(structure(LabelConfig, {"labels": {"call.new": "yes"}, "when": "sip.method == 'INVITE'"}))
    for labels, expected in ((INVITE, "yes"), (OPTIONS, None)):
        message = output(labels)
        assert processor.process(message)
        assert message.labels.get("call.new") == expected


def test_a_label_that_is_there_is_replaced() -> None:
    assert labelled({"labels": {"sip.method": "X"}}, {"sip.method": "BYE"}) == {"sip.method": "X"}


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {"a b": "x"}}, "labels"),
        ({"labels": {"_a": "x"}}, "labels"),
        ({"labels": {"a\n": "x"}}, "labels"),
        ({"labels": {"a..b": "x"}}, "labels"),
        ({"labels": {"a" * 129: "x"}}, "labels"),
        ({"labels": {"a": ""}}, "labels.a"),
        ({"labels": {"a": "x\ny"}}, "labels.a"),
        ({"labels": {"a": "x" * 1025}}, "labels.a"),
        ({"labels": {"a": 5}}, "labels.a"),
        ({"labels": {f"a{i}": "x" for i in range(65)}}, "labels"),
        ({"hostname": "a b"}, "hostname"),
        ({"node_ip": "a", "hostname": "a"}, "node_ip"),
        ({"labels": {"a": "x"}, "tags": {"t": "a"}}, "tags.t"),
    ],
)
def test_labels_that_cannot_be_are_refused(config: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        structure(LabelConfig, config)
    assert [problem.path for problem in caught.value.problems] == [path]
