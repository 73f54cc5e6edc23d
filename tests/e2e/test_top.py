"""``otus top`` as a user works with it, on a terminal, and ``otus stats`` on a narrow one."""

from __future__ import annotations

import subprocess
import termios
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from otus_core.cli.tables import stats_text
from otus_core.cli.top.board import Board, Sampled
from otus_core.model.text import columns_of
from tests.e2e.node import Node
from tests.e2e.test_tap import capture, create
from tests.live.net import OTUS
from tests.patience import PATIENCE_S, wait
from tests.screen import Screen


@pytest.fixture
def node(node: Node) -> Node:
    """A node with two tasks that go on for as long as the test."""
    node.start()
    for name in ("t1", "t2"):
        create(node, name, capture(node.folder / f"{name}.pcap", 4000, 0.05))
    return node


@pytest.fixture
def screen(node: Node) -> Iterator[Screen]:
    command = [OTUS, "--socket", f"{node.folder}/o.sock", "top"]
    made = Screen(partial(subprocess.Popen, command), columns=110)
    yield made
    made.close()


def test_tasks_are_shown_sorted_and_tapped_and_the_terminal_is_left_as_it_was(screen: Screen) -> None:
    wait(lambda: screen.shows("2 tasks"), what="the screen is there")
    wait(lambda: screen.shows("OPTIONS") and screen.shows("INVITE"), what="the busiest methods are ranked")
    wait(lambda: screen.shows("192.0.2.") and screen.shows("worker 1"), what="sources and workers are told")
    screen.press("s")
    wait(lambda: screen.shows("frames/s"), what="it is sorted by another column")
    screen.press("t")
    wait(lambda: screen.shows("esc back") and screen.shows("198.51.100.9:5060"), what="messages are shown live")
    assert "\x1b[31mice" not in screen.written  # which packets hold
    screen.press("\x1b")
    wait(lambda: screen.shows("methods"), what="the list is back")
    screen.press("q")
    assert screen.process.wait(PATIENCE_S) == 0
    wait(lambda: "\x1b[?1049l" in screen.written, what="the screen is given back")
    assert termios.tcgetattr(screen.child) == screen.before


def stats(uptime: float, **counted: int) -> dict[str, Any]:
    counters = {
        "counted": {f"parser:sip:{name}": n for name, n in counted.items()},
        "dropped": {},
        "reporters": {"kafka": {"queued": 3, "in_flight": 2, "dropped": {"unavailable": int(uptime)}}},
    }
    task = {"state": "running", "degraded": True, "troubles": ["the broker is \x1b[31m away"], "counters": counters}
    rates = {"frames_per_sec": 1234567.0, "messages_per_sec": 12.0}
    return {"uptime_sec": uptime, "tasks": {"a-task-with-a-name": {**task, "rates": rates, "workers": []}}}


def test_counters_are_rates_and_are_ranked() -> None:
    board = Board()
    board.take(stats(10.0, seen_invite=10, seen_options=0, seen_2xx=5, attempts=1, calls_busy=0))
    board.take(stats(12.0, seen_invite=20, seen_options=40, seen_2xx=6, attempts=5, calls_busy=2))
    (row,) = board.rows("task", turned=False)
    assert (row.numbers["calls/s"], row.numbers["lost/s"], row.numbers["queued"]) == (2.0, 1.0, 5)
    assert "\x1b" not in "".join(row.cells)
    assert [" ".join(line.split()) for line in board.busiest("a-task-with-a-name")] == [
        "methods OPTIONS 20.0/s INVITE 5.0/s",
        "responses 2xx 0.5/s",
        "calls busy 1.0/s",
    ]


def test_what_packets_choose_is_bounded_and_escaped() -> None:
    sampled = Sampled()
    sampled.take([{"src_ip": f"10.0.{n // 256}.{n % 256}", "labels": {}} for n in range(5000)])
    sampled.take([{"src_ip": "10.0.0.1", "labels": {"sip.status_code": "4\x1b[2J"}}] * 5)
    sources, codes = sampled.lines()
    assert "10.0.0.1" in sources and "\x1b" not in codes
    assert len(sampled._sources) == 2000


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_stats_fit_the_terminal(width: int) -> None:
    lines = stats_text(stats(10.0), width).splitlines()
    assert all(columns_of(line) <= width for line in lines)
    assert "FRAMES/S" in lines[0] and "LOST" in lines[0] and "1,234,567" in lines[1]
