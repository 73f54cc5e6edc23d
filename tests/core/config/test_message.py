"""Messages from elsewhere: what the quick reader takes is what the thorough one finds nothing wrong with."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core import MessageForm, configuration, option, register_type


class Even(int):
    """A number that two divides."""


def read_even(value: object) -> Even:
    if type(value) is not int or value % 2:
        raise ValueError("two does not divide it")
    return Even(value)


class Colour(Enum):
    """One of two."""

    RED = "red"
    BLUE = "blue"


register_type(Even, read=read_even, takes="an even number")


@configuration
class Part:
    """What a message holds."""

    name: str = option()


@configuration
class Letter:
    """A message with members of every kind."""

    version: Literal["v1", 2] = option()
    text: str = option(min_length=1, max_length=3, pattern="[a-c]+")
    number: int | None = option(default=None, ge=1, le=5)
    share: float = option(default=0.5)
    flag: bool = option(default=False)
    even: Even | None = option(default=None)
    colour: Colour | None = option(default=None)
    anything: Any = option(default=None)
    payload: Mapping[str, Any] | None = option(default=None)
    words: tuple[str, ...] = option(default=(), max_length=2)
    part: Part | None = option(default=None)


FORM = MessageForm(Letter)
GOOD: dict[str, Any] = {
    "version": "v1",
    "text": "abc",
    "number": 3,
    "share": 1,
    "flag": True,
    "even": 4,
    "colour": "red",
    "anything": [None],
    "payload": {"a": 1},
    "words": ["x"],
    "part": {"name": "n"},
}
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.sampled_from(["", "a", "abcd", "v1", "red", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "a", "b"]), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(list(GOOD)), PLAIN, max_size=4), st.sets(st.sampled_from(list(GOOD))))
def test_both_readers_agree_on_every_message(changed: dict[str, Any], left_out: set[str]) -> None:
    data = {name: value for name, value in {**GOOD, **changed}.items() if name not in left_out}
    assert (FORM.take(data) is None) == bool(FORM.problems(data)), (data, FORM.problems(data))


def test_a_message_becomes_an_instance() -> None:
    assert FORM.take(GOOD) == Letter(
        version="v1",
        text="abc",
        number=3,
        share=1.0,
        flag=True,
        even=Even(4),
        colour=Colour.RED,
        anything=[None],
        payload={"a": 1},
        words=("x",),
        part=Part(name="n"),
    )
    assert FORM.problems(GOOD) == ()


def test_all_that_is_wrong_is_told_with_paths() -> None:
    told = [str(one) for one in FORM.problems({**GOOD, "version": "v2", "text": 5, "even": 3, "part": {"nam": "n"}})]
    assert len(told) == 5
    assert told[0].startswith("version: expected") and told[1] == "text: expected text, got the integer 5"
    assert "part.nam: unknown key; did you mean name?" in told


def test_other_members_are_ignored_unless_they_look_like_one_that_is_missing() -> None:
    more = {**GOOD, "colourless": 1, "txt": 2}
    assert FORM.take(more) is not None and FORM.problems(more) == ()
    del more["text"]
    assert [str(one) for one in FORM.problems(more)] == [
        "txt: unknown key; did you mean text?",
        "text: is required",
    ]


@pytest.mark.parametrize("data", [None, [], "x", 5, {}])
def test_what_is_no_message_at_all_is_refused(data: object) -> None:
    assert FORM.take(data) is None and FORM.problems(data)


def test_very_many_members_are_not_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("otus_core.config.message.closest", lambda key, _known: asked.append(key))
    assert FORM.problems({f"member-{n}": n for n in range(100_000)})
    assert len(asked) == 20
