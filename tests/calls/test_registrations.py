"""Registrations and figures."""

from __future__ import annotations

from typing import Any

import pytest

from otus_calls.bindings import Bindings
from tests.calls.bench import CALLEE, Bench, sdp

REGISTRAR, PHONE = ("192.0.2.9", 5060), ("192.0.2.1", 5060)
CONTACT = "Contact: <sip:alice@192.0.2.1>"
PROOF = 'Authorization: Digest username="alice"'


def register(bench: Bench, number: int, *more: str, user: str = "alice", call: str = "r1", after: float = 0.1) -> None:
    bench.send(
        "REGISTER sip:example.com",
        cseq=f"{number} REGISTER",
        way=(PHONE, REGISTRAR),
        call=call,
        users=(user, user),
        more=(CONTACT, *more),
        after=after,
    )


def answered(bench: Bench, number: int, code: int, *more: str, user: str = "alice", call: str = "r1") -> None:
    bench.send(
        f"SIP/2.0 {code} Whatever",
        cseq=f"{number} REGISTER",
        way=(REGISTRAR, PHONE),
        call=call,
        users=(user, user),
        tags=("f1", "t1"),
        more=more,
    )


def one(bench: Bench) -> dict[str, Any]:
    bench.finish()
    (found,) = bench.of("registration")
    return found


def test_registered_with_credentials_and_refreshed() -> None:
    bench = Bench()
    register(bench, 1, "Expires: 3600")
    answered(bench, 1, 401)
    register(bench, 2, "Expires: 3600", PROOF)
    answered(bench, 2, 200, 'Contact: <sip:other@x>;expires=7, "a,b" <sip:alice@192.0.2.1>;expires=60')
    register(bench, 3, "Expires: 3600", PROOF, after=30)
    answered(bench, 3, 200, "Contact: <sip:other@x>;expires=7", "Contact: <sip:alice@192.0.2.1>;expires=60")
    found = one(bench)
    assert (found["state"], found["expires"], found["requested_expires"]) == ("registered", 60, 3600)
    assert (found["attempts"], found["refreshes"], found["challenges"], found["failures"]) == (2, 1, 1, 0)
    assert (found["rrd_max"], found["ira"], found["wrong_password"]) == (0.3, 0.0, False)
    assert (found["registrar"], found["source"]) == ("192.0.2.9:5060", "192.0.2.1:5060")


def test_one_that_is_not_refreshed_expires() -> None:
    bench = Bench()
    register(bench, 1)
    answered(bench, 1, 200, "Contact: <sip:alice@192.0.2.1>;expires=60")
    bench.tick(50)
    assert bench.of("registration") == []
    bench.tick(60)
    (found,) = bench.of("registration")
    assert (found["state"], found["ended"]) == ("expired", "expired")


def test_removed() -> None:
    bench = Bench()
    register(bench, 1, "Expires: 0")
    answered(bench, 1, 200)
    assert one(bench)["state"] == "unregistered"


@pytest.mark.parametrize("code", [401, 403])
def test_a_wrong_password(code: int) -> None:
    bench = Bench()
    register(bench, 1)
    answered(bench, 1, 401, 'WWW-Authenticate: Digest realm="x"')
    register(bench, 2, PROOF)
    answered(bench, 2, code, 'WWW-Authenticate: Digest realm="x"')
    found = one(bench)
    assert (found["state"], found["wrong_password"], found["failures"]) == ("wrong_password", True, 1)


def test_a_stale_nonce_is_no_wrong_password() -> None:
    bench = Bench()
    register(bench, 1, PROOF)
    answered(bench, 1, 401, 'WWW-Authenticate: Digest realm="x", stale=true')
    register(bench, 2, PROOF)
    answered(bench, 2, 200)
    found = one(bench)
    assert (found["state"], found["wrong_password"], found["attempts"]) == ("registered", False, 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_source_tries_many_users(workers: int) -> None:
    bench = Bench(workers)
    for n in range(12):
        register(bench, 1, PROOF, user=f"u{n}", call=f"r{n}")
        answered(bench, 1, 403, user=f"u{n}", call=f"r{n}")
    bench.finish()
    found = bench.of("registration")
    assert len(found) == 12
    assert all(one["scan"] for one in found)


def test_nobody_answers() -> None:
    bench = Bench()
    for wait in (0.1, 0.5, 1):
        register(bench, 1, after=wait)
    found = one(bench)
    assert (found["state"], found["retransmissions"], found["attempts"]) == ("no_reply", 2, 1)


def test_too_many_registrations_are_evicted_each_with_a_record() -> None:
    bench = Bench(max_registrations=10)
    for n in range(100):
        register(bench, 1, user=f"u{n}", call=f"r{n}", after=0.001)
    bench.finish()
    found = bench.of("registration")
    assert len({one["aor"] for one in found}) == len(found) == 100
    assert [one["ended"] for one in found].count("evicted") == 90


def watched(monkeypatch: pytest.MonkeyPatch) -> tuple[Bench, Bindings]:
    """Give a processor, and the registrations in it."""
    made: list[Bindings] = []

    def make(most: int, failed: Any) -> Bindings:
        made.append(Bindings(most, failed))
        return made[-1]

    monkeypatch.setattr("otus_calls.desk.Bindings", make)
    bench = Bench()
    (bindings,) = made
    return bench, bindings


def test_a_tick_looks_only_at_registrations_that_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, bindings = watched(monkeypatch)
    for n in range(500):
        register(bench, 1, user=f"u{n}", call=f"r{n}", after=0)
        answered(
            bench, 1, 200, f"Contact: <sip:alice@192.0.2.1>;expires={3600 if n else 60}", user=f"u{n}", call=f"r{n}"
        )
    bench.tick(50)  # the queue has come to each once, and found that it is due later
    before = bindings.looks
    bench.tick(100)
    assert [found["aor"] for found in bench.of("registration")] == ["sip:u0@example.com"]
    assert bindings.looks - before <= 2
    bindings.mark_scan("sip:u7@example.com")
    assert bindings.looks - before <= 3
    bench.tick(3700)
    assert len(bench.of("registration")) == 500


def test_what_is_left_over_of_registrations_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each registration that is granted for less time than the one before is due sooner than it was."""
    bench, bindings = watched(monkeypatch)
    for n in range(2000):
        register(bench, n + 1, call="r1", after=0)
        answered(bench, n + 1, 200, f"Contact: <sip:alice@192.0.2.1>;expires={90_000 - 20 * n}")
    assert bindings.queue_size < 100
    assert one(bench)["refreshes"] == 1999


@pytest.mark.parametrize("workers", [1, 2])
def test_figures_of_an_interval(workers: int) -> None:
    bench = Bench(workers, kpi=60.0, linger=1.0)
    bench.tick()
    for n, code in enumerate((200, 200, 486, 503, 302, 401)):
        about: dict[str, Any] = {"call": f"k{n}"}
        bench.invite(**about)
        bench.answer(code, body=sdp(CALLEE[0]) if code == 200 else "", **about)
        if code == 200:
            bench.bye(after=10, **about)
    bench.tick(5)
    bench.tick(60)
    bench.tick(1)
    (figures,) = bench.of("kpi")
    assert (figures["attempts"], figures["ser"], figures["asr"]) == (6, 40.0, 33.333)
    assert (figures["seer"], figures["isa"], figures["scr"], figures["ner"]) == (60.0, 16.667, 33.333, 50.0)
    assert (figures["acd"], figures["srd"], figures["sdd"]) == (10.0, 0.1, 0.1)
    assert bench.counted["attempts"] == 6
