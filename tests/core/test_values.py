"""Classes made by ``otus_core.values`` are those that attrs makes, in all that can be seen of their objects."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from otus_core import values


def made_by(frozen: Any, define: Any) -> tuple[type, type, type]:
    """Give the same three classes, by attrs or by us."""

    @frozen(kw_only=True)
    class Login:
        user: str
        password: str = attrs.field(repr=False)
        seen: list[int] = attrs.field(factory=list, eq=False)

    @define
    class Point:
        x: int
        y: int = 0

    @frozen(eq=False)
    class Handle:
        number: int

    return Login, Point, Handle


@pytest.fixture(params=[values, attrs], ids=["values", "attrs"])
def classes(request: pytest.FixtureRequest) -> tuple[type, type, type]:
    return made_by(request.param.frozen, request.param.define)


def test_objects_are_equal_if_the_fields_that_count_are(classes: tuple[type, type, type]) -> None:
    login, point, handle = classes
    one = login(user="a", password="p", seen=[1])
    assert one == login(user="a", password="p", seen=[2])
    assert hash(one) == hash(login(user="a", password="p"))
    assert one != login(user="a", password="q")
    assert point(1, 2) == point(1, 2) != point(1, 3)
    assert point(1) != (1, 0)
    assert handle(1) != handle(1)
    assert len({handle(1), handle(1)}) == 2


def test_a_class_is_not_equal_to_one_derived_from_it(classes: tuple[type, type, type]) -> None:
    _, point, _ = classes
    derived = type("Derived", (point,), {"__slots__": ()})
    assert point(1) != derived(1)


def test_what_can_change_has_no_hash(classes: tuple[type, type, type]) -> None:
    _, point, _ = classes
    with pytest.raises(TypeError, match="unhashable"):
        hash(point(1))


def test_secrets_are_not_shown(classes: tuple[type, type, type]) -> None:
    login, point, handle = classes
    assert repr(login(user="a", password="geheim")).endswith("Login(user='a', seen=[])")
    assert repr(point(1)).endswith("Point(x=1, y=0)")
    assert repr(handle(3)).endswith("Handle(number=3)")


def test_they_are_frozen_have_slots_and_can_be_changed_by_attrs(classes: tuple[type, type, type]) -> None:
    login, _, handle = classes
    one = login(user="a", password="p")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.user = "b"
    assert not hasattr(one, "__dict__")
    assert attrs.evolve(one, user="b") == login(user="b", password="p")
    assert [a.name for a in attrs.fields(handle)] == ["number"]


def test_methods_of_a_class_itself_are_kept() -> None:
    @values.frozen
    class Always:
        n: int

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

        def __repr__(self) -> str:
            return "always"

    assert Always(1) == 3
    assert hash(Always(1)) == 7
    assert repr(Always(1)) == "always"
