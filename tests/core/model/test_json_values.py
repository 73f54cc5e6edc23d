"""Plain values as JSON: what every reader gets back, whoever writes them."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otus_core import to_json

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=40)


@given(VALUES)
@example({"": ['\x7f\x00"\\\u2028\ud800\U0001f600', {"deep": [[[]]]}], "n": -(2**63), "more": 2**63})
def test_it_reads_back(value: Any) -> None:
    data = to_json(value)
    assert data.isascii()
    assert data.count(b" ") == json.dumps(value, separators=(",", ":")).count(" ")
    assert json.loads(data) == json.loads(json.dumps(value))


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**16), 10**16).map(lambda n: n / 1e6))
@example(0.0)
@example(-0.0)
@example(1e9)
@example(999_999_999.999999)
@example(0.1 + 0.2)
def test_numbers_have_the_digits_that_tell_them_apart(number: float) -> None:
    told = to_json(number).decode()
    assert (float(told), math.copysign(1, float(told))) == (number, math.copysign(1, number))
    assert len(told) <= max(len(repr(number)), 9)  # -0.000001 is as good as -1e-06


def test_keys_keep_their_order() -> None:
    assert to_json({"b": 1, "a": {"d": (), "c": [1.5, True, None]}}) == b'{"b":1,"a":{"d":[],"c":[1.5,true,null]}}'


def test_what_json_does_not_have_is_null() -> None:
    assert json.loads(to_json({"a": [math.nan, 1.0], "b": -math.inf})) == {"a": [None, 1.0], "b": None}


@attrs.frozen
class Point:
    x: int
    y: bytes


def test_other_objects_are_told_as_payloads_are() -> None:
    assert json.loads(to_json({1: Point(1, b"two"), "set": {3}, "path": 1j})) == {
        "1": {"x": 1, "y": "two"},
        "set": [3],
        "path": "1j",
    }


def test_deep_values_are_told_whole() -> None:
    value: list[Any] = []
    for _ in range(200):
        value = [value]
    assert json.loads(to_json(value)) == value


def test_a_value_that_holds_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["itself"] = value
    with pytest.raises(ValueError, match="Circular"):
        to_json(value)


def test_a_key_that_is_none_of_json_is_refused() -> None:
    with pytest.raises(TypeError):
        to_json({(1, 2): 3})
