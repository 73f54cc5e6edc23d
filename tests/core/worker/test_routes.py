"""What components hand to the worker that owns a key: each message is taken, or counted as lost."""

from __future__ import annotations

from typing import Any

import pytest

from otus_core.model.accounts import Accounts
from otus_core.worker import routes as module
from otus_core.worker.routes import Routes, unpack

NAME = "processor:calls"
SECRET = bytes(16)


class Calls:
    """Takes what is routed here."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def on_route(self, key: str, message: Any) -> None:
        self.taken.append((key, message))


def made(shards: int = 2) -> tuple[Routes, Accounts, Calls, Any]:
    accounts = Accounts((f"routed{{{NAME}}}", f"routed_lost{{{NAME}}}"))
    routes, calls = Routes(0, shards, SECRET, accounts), Calls()
    return routes, accounts, calls, routes.opened(NAME, calls)


def counted(accounts: Accounts) -> tuple[int, int]:
    return accounts[f"routed{{{NAME}}}"], accounts[f"routed_lost{{{NAME}}}"]


def test_a_message_is_taken_here_or_sent_to_its_owner_and_to_nobody_else() -> None:
    routes, accounts, calls, route = made()
    for n in range(100):
        route(f"call-{n}", (n, "x"))
    sent: list[Any] = []

    def send(owner: int, counts: dict[str, int], packed: bytes) -> bool:
        assert owner == 1 and counts == {NAME: 100 - len(calls.taken)}
        sent.extend(unpack(packed))
        return True

    routes.send_all(send)
    assert 20 < len(sent) < 80
    assert sorted(calls.taken + [one[1:] for one in sent]) == sorted((f"call-{n}", (n, "x")) for n in range(100))
    assert counted(accounts) == (len(sent), 0)
    routes.send_all(send)  # there is nothing left to send
    assert counted(accounts) == (len(sent), 0)


def test_with_one_worker_it_is_a_plain_call() -> None:
    routes, accounts, calls, route = made(shards=1)
    route("a", object)
    assert calls.taken == [("a", object)] and counted(accounts) == (0, 0)
    routes.send_all(lambda *_told: pytest.fail("there is nobody to send to"))


def test_what_a_parent_that_does_not_read_refuses_is_lost_and_counted() -> None:
    routes, accounts, calls, route = made()
    for n in range(100):
        route(f"call-{n}", n)
    routes.send_all(lambda *_told: False)
    gone = 100 - len(calls.taken)
    assert counted(accounts) == (gone, gone)


def test_a_full_box_loses_what_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BOX_MAX", 3)
    routes, accounts, calls, route = made()
    for n in range(100):
        route(f"call-{n}", n)
    assert counted(accounts) == (3, 97 - len(calls.taken))
    routes.send_all(lambda _owner, counts, packed: len(list(unpack(packed))) == counts[NAME] == 3)
    assert counted(accounts) == (3, 97 - len(calls.taken))


@pytest.mark.parametrize(("key", "message"), [(b"a", 1), (None, 1), (5, 1)])
def test_a_key_is_text(key: Any, message: Any) -> None:
    with pytest.raises(TypeError, match="not text"):
        made()[3](key, message)


def test_a_message_is_small_and_of_plain_values() -> None:
    routes, accounts, _, route = made()
    far = next(f"call-{n}" for n in range(100) if routes.owner(f"call-{n}") == 1)
    for message, complaint in ((object(), "unmarshallable"), ("x" * module.MESSAGE_MAX, "at most 65536")):
        with pytest.raises(ValueError, match=complaint):
            route(far, message)
    assert counted(accounts) == (0, 0)
