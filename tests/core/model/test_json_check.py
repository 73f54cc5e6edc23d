"""What is JSON that can stand in a line, with the standard library as the judge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core.model.json_check import DEPTH_MAX, check_json


def takes(text: bytes) -> bool:
    try:
        check_json(text)
    except ValueError:
        return False
    return True


def is_json_line(text: bytes) -> bool:
    """What the standard library takes, but for its extensions, line breaks, and lone surrogates as bytes."""

    def refuse(_name: str) -> Any:
        raise ValueError

    if b"\n" in text or b"\r" in text:
        return False
    try:
        json.loads(text.decode("utf-8"), parse_constant=refuse)
    except ValueError:
        return False
    return True


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, st.booleans())
def test_all_that_the_standard_library_writes_is_taken(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert takes(text) is is_json_line(text)


@settings(max_examples=500)
@given(values, st.data())
def test_a_byte_that_is_changed_gone_or_added_is_judged_as_the_standard_library_does(value: Any, data: Any) -> None:
    text = bytearray(json.dumps(value).encode())
    at = data.draw(st.integers(0, len(text)))
    byte = data.draw(st.sampled_from(b'{}[],:"\\ \t\n019.-+eEtfnu\x00\x1f\x7f\x80\xff'))
    match data.draw(st.sampled_from(("change", "cut", "add", "end"))):
        case "change":
            text[at : at + 1] = bytes([byte])
        case "cut":
            del text[at : at + 1]
        case "add":
            text[at:at] = bytes([byte])
        case _:
            del text[at:]
    assert takes(bytes(text)) is is_json_line(bytes(text))


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"{", b"NaN", b"Infinity", b"-", b"01", b"1.", b".5", b"1e", b"+1", b"nul", b"1 2", b"[1,]", b'{"a"}',
     b'{"a":}', b'{a:1}', b"{'a':1}", b'"\x01"', b'"\\x"', b'"\\u12g4"', b'"', b'"\\', b'"\\u12', b'"\xff"',
     b"\xef\xbb\xbf1",
     b"[1\n]", b"1\n", b'"\xed\xa0\x80"', b"[" * (DEPTH_MAX + 2) + b"]" * (DEPTH_MAX + 2), b"[" * 10**6],
)  # fmt: skip
def test_what_is_none_is_refused(text: bytes) -> None:
    assert not takes(text)


def test_a_refusal_says_where() -> None:
    with pytest.raises(ValueError, match="wrong at byte 5"):
        check_json(b'{"a":NaN}')
    with pytest.raises(ValueError, match="wrong at the end"):
        check_json(b'{"a":')
