"""Pushing to Loki, against a real HTTP server that fails and recovers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from otus_core.logs import loki
from otus_core.logs.loki import LokiPusher
from tests.loki import Loki
from tests.patience import PATIENCE_S, keeps, took, wait


@pytest.fixture
def server() -> Iterator[Loki]:
    made = Loki()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loki, "PAUSE_FIRST_S", 0.02)
    monkeypatch.setattr(loki, "PAUSE_MOST_S", 0.05)


def test_lines_arrive_in_order_with_their_labels(server: Loki) -> None:
    pusher = LokiPusher(server.url, {"app": "otus"}, 10, 0.05)
    lines = [f"line {n}" for n in range(35)]
    for line in lines:
        pusher.write(line)
    wait(lambda: len(server.lines) == 35)
    assert server.lines == lines
    assert server.times == sorted(server.times)
    assert server.streams[0] == {"app": "otus"}
    pusher.close()


def test_an_outage_loses_nothing_that_fits_the_buffer(server: Loki) -> None:
    server.statuses = [500, 503, 429, 500]
    pusher = LokiPusher(server.url, {}, 5, 0.01)
    for n in range(12):
        pusher.write(str(n))
    wait(lambda: len(server.lines) == 12)
    assert server.lines == [str(n) for n in range(12)]
    assert pusher.lost == 0
    pusher.close()


@pytest.mark.parametrize(
    ("written", "lost"), [(13, 3), (15, 5), (25, 15)], ids=["some room", "just no room", "no room"]
)
def test_after_an_outage_the_newest_lines_come_in_their_order(
    server: Loki, monkeypatch: pytest.MonkeyPatch, written: int, lost: int
) -> None:
    """A batch that was refused goes before what was written meanwhile, as far as there is room: the oldest lines go,
    and are counted.
    """
    monkeypatch.setattr(loki, "BUFFER_MAX", 10)
    server.statuses = [503]
    server.answers.clear()
    pusher = LokiPusher(server.url, {}, 5, PATIENCE_S)
    for n in range(5):
        pusher.write(str(n))
    wait(lambda: server.asked == 1, what="a batch of five is on its way")
    for n in range(5, written):
        pusher.write(str(n))
    server.answers.set()
    wait(lambda: len(server.lines) == 10)
    assert server.lines == [str(n) for n in range(lost, written)]
    assert server.times == sorted(server.times)
    pusher.close()
    assert (pusher.lost, pusher.pushed) == (lost, 10)


def test_a_process_ends_though_its_loki_does_not_answer(server: Loki) -> None:
    server.answers.clear()
    code = f"from otus_core.logs.loki import LokiPusher; LokiPusher({server.url!r}, {{}}, 1, 0.01).write('x')"
    try:
        subprocess.run([sys.executable, "-c", code], timeout=PATIENCE_S, check=True)
    finally:
        server.answers.set()


def test_what_loki_refuses_for_good_is_counted_and_not_tried_again(server: Loki) -> None:
    server.statuses = [400]
    pusher = LokiPusher(server.url, {}, 2, 0.01)
    pusher.write("bad")
    wait(lambda: pusher.lost == 1)
    pusher.write("good")
    wait(lambda: server.lines == ["good"])
    pusher.close()


def test_a_loki_that_is_not_there_costs_bounded_memory_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loki, "BUFFER_MAX", 100)
    pushers: list[LokiPusher] = []

    def write() -> None:
        pushers.append(LokiPusher("http://127.0.0.1:9/loki/api/v1/push", {}, 10, 0.01))
        for n in range(5000):
            pushers[-1].write(str(n))

    keeps(1.0, lambda: took(write))

    def end() -> float:
        write()
        wait(lambda: pushers[-1].lost >= 4800)
        return took(lambda: pushers[-1].close(1.0))

    keeps(2.0, end)


def test_closing_pushes_what_is_left(server: Loki) -> None:
    pusher = LokiPusher(server.url, {}, 1000, 30.0)
    pusher.write("last words")
    pusher.close()
    assert server.lines == ["last words"]
