"""``otus calls --watch``, as a user works with it: on a terminal, at an interface on which calls come and go."""

from __future__ import annotations

import subprocess
import termios
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from otus_calls.screen.pace import SHARE, Pace
from otus_calls.screen.store import Store, View
from otus_core.testing import packets
from tests.calls.commands.running import OTUS, otus
from tests.live.conftest import pair
from tests.live.net import Pair
from tests.patience import wait
from tests.screen import Screen

__all__ = ["pair"]


@pytest.fixture
def screen(pair: Pair) -> Iterator[Screen]:
    command = (OTUS, "calls", "-i", "eth0", "--watch")
    made = Screen(partial(pair.popen, pair.near, *command), columns=120)
    yield made
    made.close()


def message(call: int, line: str, cseq: str = "1 INVITE", to: str = "") -> bytes:
    text = (
        f"{line}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{call}{cseq}\r\nCall-ID: {call}@watched\r\nCSeq: {cseq}\r\n"
        f"From: <sip:alice{call}@h>;tag=a\r\nTo: <sip:bob@h>{to}\r\nContent-Length: 0\r\n\r\n"
    )
    ends = ("192.0.2.1", "192.0.2.2") if "SIP/2.0 " not in line else ("192.0.2.2", "192.0.2.1")
    return packets.udp(text.encode(), src=ends[0], dst=ends[1])


def test_calls_come_a_ladder_is_followed_and_the_terminal_is_left_as_it_was(pair: Pair, screen: Screen) -> None:
    wait(lambda: screen.shows("0 calls"), what="the screen is there")

    sent = 0.0

    def first_call_is_shown() -> bool:
        nonlocal sent
        if time.monotonic() > sent + 5:  # the screen is there before the capture has begun
            pair.send([message(1, "INVITE sip:bob@h SIP/2.0")])
            sent = time.monotonic()
        return screen.shows("alice1 → bob")

    wait(first_call_is_shown, what="the call is shown")
    screen.press("\r")
    wait(lambda: screen.shows("1@watched") and screen.shows("INVITE"), what="its ladder is shown")
    pair.send([message(1, "SIP/2.0 486 Busy Here", to=";tag=b")])
    wait(lambda: screen.shows("486 Busy Here"), what="the ladder goes on")
    pair.send([message(2, "INVITE sip:bob@h SIP/2.0")])
    screen.press("\x1b")
    wait(lambda: screen.shows("alice2 → bob"), what="the list is back, with the next call")
    screen.press("/")
    wait(lambda: screen.shows("Call-ID"), what="a filter can be written")
    screen.press("alice2\r")
    wait(lambda: screen.shows("filter: alice2"), what="it is filtered")
    screen.press("q")
    assert screen.process.wait(20) == 0
    wait(lambda: "\x1b[?1049l" in screen.written and "\x1b[?25h" in screen.written, what="the screen is given back")
    assert termios.tcgetattr(screen.child) == screen.before
    pids = subprocess.run(["ip", "netns", "pids", pair.near], capture_output=True, text=True, check=True).stdout
    assert pids == ""


def test_a_slow_line_is_not_sent_more_than_it_takes(pair: Pair, screen: Screen) -> None:
    """Over ssh, what is drawn waits in buffers: keys are answered when all that was drawn before has been shown."""
    wait(lambda: screen.shows("0 calls"), what="the screen is there")
    begun = time.monotonic()
    with pair.wire() as wire:
        for n in range(1, 5001):
            wire.send(message(n, "INVITE sip:bob@h SIP/2.0"))
            time.sleep(max(0.0, begun + n / 500 - time.monotonic()))
    assert "under way" in screen.written
    assert len(screen.written) < 30_000 + 8_000 * (time.monotonic() - begun)  # the first screen, and what came then


def test_it_needs_a_terminal_and_an_interface(examples: Path) -> None:
    assert "--watch: the screen needs a terminal" in otus("calls", "-i", "lo", "--watch").stderr
    assert "--watch: needs an interface: give -i" in otus("calls", examples / "call.pcap", "--watch").stderr


def facts(n: int, ended: str | None = "bye", **more: Any) -> dict[str, Any]:
    end = {"ip": "192.0.2.1", "port": 5060, "agent": f"phone {n}"}
    told = {"call_id": f"{n}", "from_tag": "t", "start": f"2026-01-01T00:00:00.{n:06}Z", "state": "completed"}
    told |= {"from": {"user": f"user{n}"}, "to": {"user": "b"}, "caller": end, "callee": end, "code": 200}
    return {**told, "flags": [], "q850": None, "ended": ended, "mos": 4.0, "pdd": 0.1, "talk": float(n), **more}


def test_the_newest_calls_are_kept_and_those_under_way_before_those_that_ended() -> None:
    store = Store(most=20_000)
    store.put(facts(0, ended=None))
    for n in range(1, 20_100):
        store.put(facts(n))
    assert (len(store), store.forgotten, store.under_way) == (20_000, 100, 1)
    assert [one.number for one in store.chosen(View())[:2]] == [1, 102]


def test_calls_are_sorted_filtered_and_brought_up_to_date() -> None:
    store = Store()
    for n in (1, 2, 3):
        store.put(facts(n, ended=None, state="ringing"))
    store.put(facts(2, state="failed", code=503, flags=[{"flag": "loop", "evidence": ""}], mos=1.0))
    shown = {
        View(sort="talk", down=True): [3, 2, 1],
        View(sort="mos"): [2, 1, 3],
        View(words="USER3"): [3],
        View(words="Phone user1"): [1],
        View(words="503"): [2],
        View(problems=True): [2],
    }
    assert {view: [one.number for one in store.chosen(view)] for view in shown} == shown


@pytest.mark.parametrize("took", [0.001, 0.05, 0.7])
def test_drawing_takes_a_share_of_the_time_however_long_one_takes(took: float) -> None:
    now, drawn = 0.0, 0.0
    pace = Pace(lambda: now)
    while now < 100:
        pace.note()  # calls come all the time
        if pace.due:
            with pace.drawing():
                now += took
            drawn += took
        now += 0.1  # the screen looks for what has come so often
    assert drawn <= (now + 10 * took) * SHARE
    assert drawn >= min(100 * SHARE, 100 / 0.2 * took) / 2, "it goes on drawing"


def test_what_somebody_asks_for_is_drawn_at_once_and_nothing_without_a_reason() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    with pace.drawing():
        now += 1
    assert not pace.due
    pace.note()
    assert not pace.due, "it would take more than its share"
    pace.ask()
    assert pace.due
    with pace.drawing():
        pass
    now += 10
    assert not pace.due
    pace.note()
    assert pace.due
