"""Who gets one of a few places, and who gives one back."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from otus_core.observe.places import PEER_MAX, PLACES, THREADS_MAX, Places, peer_of


class Crowd:
    """Connections and their other ends."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.ends: dict[socket.socket, socket.socket] = {}

    def one(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            self._stack.enter_context(end)
        theirs.setblocking(False)
        self.ends[ours] = theirs
        return ours

    def is_cut(self, ours: socket.socket) -> bool:
        try:
            return self.ends[ours].recv(1) == b""
        except BlockingIOError:
            return False


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with ExitStack() as stack:
        yield Crowd(stack)


def take(places: Places, crowd: Crowd, address: str, n: int = 1) -> list[socket.socket]:
    return [one for one in (crowd.one() for _ in range(n)) if places.take(one, address)]


def test_the_peer_that_holds_most_gives_its_oldest_back(crowd: Crowd) -> None:
    places = Places()
    scraper = take(places, crowd, "192.0.2.9")
    greedy = take(places, crowd, "192.0.2.1", PLACES - 1)
    (newcomer,) = take(places, crowd, "192.0.2.8")
    assert [crowd.is_cut(one) for one in (*scraper, *greedy[:2], newcomer)] == [False, True, False, False]


def test_a_crowd_from_one_address_replaces_itself_and_nobody_else(crowd: Crowd) -> None:
    places = Places()
    scrapers = take(places, crowd, "192.0.2.9", 3)
    for _ in range(10):
        for one in take(places, crowd, "192.0.2.1", PLACES):
            places.leave(one) if crowd.is_cut(one) else None
    assert not any(crowd.is_cut(one) for one in scrapers)


def test_a_request_that_is_being_answered_is_not_given_up_for_its_own_peer(crowd: Crowd) -> None:
    places = Places()
    answered = take(places, crowd, "192.0.2.1", PLACES)
    assert all(places.request_came(one) for one in answered)
    assert take(places, crowd, "192.0.2.1") == []
    assert places.refused["too_many"] == 1
    (other,) = take(places, crowd, "192.0.2.9")
    assert crowd.is_cut(answered[0])
    assert places.request_came(other)
    assert not places.request_came(answered[0])


def test_a_request_that_has_come_and_was_not_read_yet_is_not_given_up_for_its_own_peer(crowd: Crowd) -> None:
    places = Places()
    (scraper,) = take(places, crowd, "192.0.2.1")
    crowd.ends[scraper].sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    greedy = take(places, crowd, "192.0.2.1", 2 * PLACES - 1)
    assert not crowd.is_cut(scraper)
    assert crowd.is_cut(greedy[0])


def test_threads_that_have_not_seen_their_end_are_bounded(crowd: Crowd) -> None:
    places = Places()
    assert len(take(places, crowd, "192.0.2.1", 3 * THREADS_MAX)) == PEER_MAX
    assert places.refused["gave_way"] == PEER_MAX - PLACES
    assert len(take(places, crowd, "192.0.2.9", 1)) == 1  # they leave room for others
    assert len(take(places, crowd, "192.0.2.8", THREADS_MAX)) == THREADS_MAX - PEER_MAX - 1


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_peer_is_an_address_or_a_network(address: str, peer: str) -> None:
    assert peer_of(address) == peer
