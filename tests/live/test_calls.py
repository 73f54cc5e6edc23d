"""Calls that sipp makes in twelve ways: each record says what the scenario did, with one worker and with two."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing import packets
from tests import needs
from tests.calls.oracle import table
from tests.live.net import Pair, accounted
from tests.live.scenarios import SCENARIOS, Scenario, script
from tests.patience import wait

pytestmark = [pytest.mark.live, pytest.mark.slow]

CALLS = int(os.environ.get("OTUS_CALLS_EACH", "3"))
"""Of each scenario; 167 of each are 2,000 in all."""
SAME_S = 0.005
EARLY_S = 0.005  # sipp waits in ticks, and was seen to end 2.4 ms early
FIRST_PORT = 6000


def make_calls(pair: Pair, folder: Path, number: int, scenario: Scenario) -> None:
    """Have sipp make the calls of a scenario, from the far to the near end."""
    port = FIRST_PORT + number
    answering = None
    for side in ("caller", "callee"):
        (folder / f"{scenario.name}-{side}.xml").write_text(script(scenario, caller=side == "caller"))
    if scenario.callee:
        command = ("sipp", "-sf", folder / f"{scenario.name}-callee.xml", "-i", pair.NEAR, "-p", port, "-nostdin")
        answering = pair.popen(pair.near, *command, cwd=folder, stdout=-3, stderr=-3)
        place = b":%04X " % port
        wait(lambda: place in pair.run(pair.near, "cat", "/proc/net/udp").stdout, what="sipp answers")
    try:
        pair.run(
            pair.far,
            *("sipp", "-sf", folder / f"{scenario.name}-caller.xml", f"{pair.NEAR}:{port}", "-i", pair.FAR),
            *(
                "-cid_str",
                f"{scenario.name}-%u@%s",
                "-m",
                CALLS,
                "-r",
                50,
                "-nostdin",
                "-nr",
                "-t",
                "un",
                "-max_socket",
                1000,
            ),
            cwd=folder,
            timeout=120,
        )
    finally:
        if answering is not None:
            answering.kill()
            answering.wait()


def differs(scenario: Scenario, call: dict[str, Any], seen: Any) -> str:
    """Say how a record differs from the scenario, and from what tshark saw on the wire; empty if it does not."""
    wanted = (scenario.state, scenario.code, scenario.attempts)
    if (call["state"], call["code"], call["attempts"]) != wanted:
        return f"{scenario.name}: {(call['state'], call['code'], call['attempts'])}, not {wanted}"
    for name, least, exact in (("pdd", scenario.ring, seen.pdd), ("talk", scenario.talk, seen.talk)):
        took = call[name]
        if least is not None and (took is None or took < least - EARLY_S):
            return f"{scenario.name}: {name} is {took}, and the scenario waits {least}"
        if exact is not None and abs(took - exact) > SAME_S:
            return f"{scenario.name}: {name} is {took}, and on the wire it was {exact}"
    if scenario.flag and scenario.flag not in {one["flag"] for one in call["flags"]}:
        return f"{scenario.name}: no flag {scenario.flag}"
    if scenario.branches and len(call["branches"]) != scenario.branches:
        return f"{scenario.name}: branches {call['branches']}"
    held = [one["by"] for one in call["hold"]]
    return f"{scenario.name}: hold {held}" if (held == ["caller"]) != (scenario.name == "hold") else ""


@pytest.mark.parametrize("workers", [1, 2])
def test_each_call_is_told_as_it_went(pair: Pair, run: Any, tmp_path: Path, workers: int) -> None:
    needs.tool("sipp")
    task = {
        "id": "t",
        "capture": {"type": "afpacket", "interface": "eth0"},
        "parsers": ["sip", "rtp", "icmp"],
        "processors": [{"type": "calls", "config": {"consume": True}}],
        "reporters": [{"type": "console", "config": {"format": "json"}}],
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    # The kernel sends one ICMP error a second to a host, after the first six (icmp(7)): each closed port is to be told.
    pair.run(pair.near, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
    one = run("--task", tmp_path / "task.json", workers=workers)
    wire = tmp_path / "wire.pcap"
    dump = pair.popen(pair.near, "tcpdump", "-i", "eth0", "--immediate-mode", "-U", "-w", wire, stderr=-3)
    wait(lambda: wire.exists() and wire.stat().st_size >= 24, what="tcpdump captures")
    silent = pair.popen(pair.near, "python3", "-c", SILENT, pair.NEAR, str(FIRST_PORT + 11))
    try:
        port = f":{FIRST_PORT + 11:04X} ".encode()
        wait(lambda: port in pair.run(pair.near, "cat", "/proc/net/udp").stdout, what="the silent party listens")
        for number, scenario in enumerate(SCENARIOS):
            make_calls(pair, tmp_path, number, scenario)
    finally:
        silent.kill()
        silent.wait()
    # tcpdump leaves unread what has come when it is told to end: this frame is behind all others.
    pair.send([packets.udp(LAST, dst_port=9)])
    wait(lambda: LAST in wire.read_bytes(), what="tcpdump has everything")
    dump.terminate()
    dump.wait()
    summary = one.stop()
    accounted(summary)
    calls = [output["payload"] for output in one.outputs() if output["payload_type"] == "call"]
    names = Counter(call["call_id"].partition("-")[0] for call in calls)
    assert names == {scenario.name: CALLS for scenario in SCENARIOS}
    if workers > 1:
        assert {output["pipeline_id"] for output in one.outputs()} == {0, 1}, "one worker had all: this shows nothing"
    ports = [part for n in range(len(SCENARIOS)) for part in ("-d", f"udp.port=={FIRST_PORT + n},sip")]
    seen = table(wire, *ports)
    kinds = {scenario.name: scenario for scenario in SCENARIOS}
    wrong = [
        differs(kinds[call["call_id"].partition("-")[0]], call, seen[call["call_id"], call["from_tag"]])
        for call in calls
    ]
    assert list(filter(None, wrong)) == []


LAST = b"nothing comes behind this"
SILENT = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], int(sys.argv[2])))
time.sleep(300)
"""
