"""What a request may be, before anything of it is read as JSON: its nesting, found in linear time whatever the bytes
are.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core.control.protocol import (
    DEPTH_MAX,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    REQUEST_MAX,
    Request,
    RpcError,
    load_json,
    parse,
    refusal,
    rpc_error,
)
from otus_core.errors import ConfigInvalid, ConfigProblem, TaskNotFound

TEXTS = st.text(alphabet='[]{}"\\,:a\n', max_size=20)
VALUES = st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
TRIES = 5


def is_too_deep(data: bytes) -> bool:
    try:
        load_json(data)
    except RpcError as error:
        return "deep" in error.message
    return False


@given(VALUES, st.integers(0, DEPTH_MAX + 8))
def test_brackets_count_outside_of_strings_alone(value: Any, around: int) -> None:
    def depth(inner: Any) -> int:
        if isinstance(inner, str):
            return 0
        return 1 + max(map(depth, inner.values() if isinstance(inner, dict) else inner), default=0)

    for n in range(around):
        value = [value, "[" * n] if n % 2 else {"\\": "]", '"': value}
    assert is_too_deep(json.dumps(value).encode()) is (depth(value) > DEPTH_MAX)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'"' + b"[" * 100, False),  # a string without an end
        (b'"\\"' + b"[" * 100, False),
        (b'"\\\\"' + b"[" * 100, True),  # an escaped backslash: the string ends before the brackets
        (b'"\\\\\\"' + b"[" * 100, False),
        (b"[]" * 100, False),
        (b"]" * 50 + b"[" * 50, False),
        (b"[" * (DEPTH_MAX + 1), True),
    ],
)
def test_odd_ones(data: bytes, expected: bool) -> None:
    assert is_too_deep(data) is expected


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "pairs": lambda n: b"[]" * (n // 2),
    "openers": lambda n: b"[" * n,
    "closers": lambda n: b"[" * 40 + b"]" * n,
    "quotes": lambda n: b"[" * 40 + b'"' * n,
    "brackets in strings": lambda n: b"[" * 40 + b'"["[' * (n // 4),
    "a string without an end": lambda n: b"[" * 40 + b'"' + b"{" * n,
    "backslashes": lambda n: b"[" * 40 + b'"' + b"\\" * n,
    "escaped quotes": lambda n: b"[" * 40 + b'"' + b'\\"' * (n // 2),
}


@pytest.mark.parametrize("generate", HOSTILE.values(), ids=HOSTILE)
def test_the_cost_is_linear_and_memory_bounded(generate: Callable[[int], bytes]) -> None:
    def seconds(n: int) -> float:
        data = generate(n)
        begun = time.process_time()
        is_too_deep(data)
        return time.process_time() - begun

    small = REQUEST_MAX // 8
    ratio = min(seconds(8 * small) / max(seconds(small), 1e-4) for _ in range(TRIES))
    assert ratio < 16
    data = generate(REQUEST_MAX)
    tracemalloc.start()
    is_too_deep(data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 32 * REQUEST_MAX


CALL = {"jsonrpc": "2.0", "method": "m", "params": {"a": 1}, "id": 7}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Request("m", {"a": 1}, 7, False)),
        ({"id": "seven"}, Request("m", {"a": 1}, "seven", False)),
        ({"id": None}, Request("m", {"a": 1}, None, False)),
        ({"id": ...}, Request("m", {"a": 1}, None, True)),
        ({"params": ...}, Request("m", {}, 7, False)),
        ({"params": None}, Request("m", {}, 7, False)),
    ],
    ids=["a call", "id is text", "id is null", "a notification", "no params", "params are null"],
)
def test_a_request_is_read(change: dict[str, Any], expected: Request) -> None:
    assert parse(json.dumps({k: v for k, v in {**CALL, **change}.items() if v is not ...}).encode()) == expected


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        (b"[]", INVALID_REQUEST, None),
        (b"{", PARSE_ERROR, None),
        (b"\xff", PARSE_ERROR, None),
        ({**CALL, "id": 1.5}, INVALID_REQUEST, None),
        ({**CALL, "id": True}, INVALID_REQUEST, None),
        ({**CALL, "id": [7]}, INVALID_REQUEST, None),
        ({**CALL, "jsonrpc": "1.0"}, INVALID_REQUEST, 7),
        ({**CALL, "method": 5}, INVALID_REQUEST, 7),
        ({**CALL, "params": [1]}, INVALID_PARAMS, 7),
    ],
)
def test_what_is_no_request_is_refused_with_its_code(line: Any, code: int, request_id: Any) -> None:
    with pytest.raises(RpcError) as caught:
        parse(line if isinstance(line, bytes) else json.dumps(line).encode())
    assert (caught.value.code, caught.value.request_id) == (code, request_id)


def test_a_refused_configuration_is_told_problem_by_problem_and_other_errors_in_words() -> None:
    problems = (ConfigProblem("capture.type", "is required"), ConfigProblem("", "odd"))
    told = json.loads(refusal(rpc_error(ConfigInvalid(problems)), 7))
    assert (told["id"], told["error"]["code"]) == (7, INVALID_PARAMS)
    assert told["error"]["data"] == {
        "problems": [{"path": "capture.type", "message": "is required"}, {"path": "", "message": "odd"}]
    }
    other = json.loads(refusal(rpc_error(TaskNotFound("there is no task 't'"))))
    assert other["error"] == {"code": INTERNAL_ERROR, "message": "there is no task 't'"}
