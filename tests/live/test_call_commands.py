"""Commands of calls on an interface, while sipp makes calls there."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests import needs
from tests.live.net import OTUS, Pair
from tests.patience import PATIENCE_S, wait

pytestmark = pytest.mark.live

CALLS = 3
PORT = 5070


def while_calls_are_made(pair: Pair, folder: Path, *command: str) -> list[str]:
    """Run a command of ours at the near end until calls have been made, and end it with Ctrl-C; gives its lines."""
    out = folder / "out"
    with out.open("wb") as file:
        ours = pair.popen(pair.near, OTUS, *command, "-i", "eth0", stdout=file, stderr=-3)
    answering = pair.popen(
        pair.near, needs.tool("sipp"), "-sn", "uas", "-i", pair.NEAR, "-p", PORT, "-nostdin", cwd=folder, stdout=-3
    )
    try:
        wait(lambda: b":%04X " % PORT in pair.run(pair.near, "cat", "/proc/net/udp").stdout, what="sipp answers")
        wait(lambda: b" 0003 " in pair.run(pair.near, "cat", "/proc/net/packet").stdout, what="ours listens")
        calling = ("sipp", "-sn", "uac", f"{pair.NEAR}:{PORT}", "-i", pair.FAR, "-nostdin")
        pair.run(pair.far, *calling, "-m", CALLS, "-r", 10, "-d", 100, cwd=folder, timeout=60)
    finally:
        answering.kill()
        answering.wait()
    ours.send_signal(signal.SIGINT)
    assert ours.wait(PATIENCE_S) == 0
    return out.read_text().splitlines()


def test_ladders_of_an_interface(pair: Pair, tmp_path: Path) -> None:
    lines = while_calls_are_made(pair, tmp_path, "ladder")
    heads = [line for line in lines if line.startswith("#")]
    assert [head.split()[0] for head in heads] == [f"#{n}" for n in range(1, CALLS + 1)]
    assert all("completed" in head for head in heads)
    for message in ("INVITE", "180 Ringing", "ACK", "BYE"):
        assert sum(message in line for line in lines) >= CALLS


def test_figures_of_an_interface(pair: Pair, tmp_path: Path) -> None:
    lines = while_calls_are_made(pair, tmp_path, "kpi", "--every", "1s", "--json")
    rows = [json.loads(line) for line in lines]
    assert sum(row["answered"] for row in rows) == CALLS  # those that are still looked after are told of at the end
    assert {row["asr"] for row in rows if row["attempts"]} == {100.0}
    assert [row["begin"] for row in rows] == sorted(row["begin"] for row in rows)
