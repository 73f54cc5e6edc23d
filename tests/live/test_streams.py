"""SIP over TCP between two sipp, in segments that are shorter than messages: each message is there once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.live.net import Pair, accounted, ip, sipp_answers

pytestmark = pytest.mark.live

CALLS = 200
SEGMENT = 200
"""Bytes: an INVITE of sipp comes in three parts."""


@pytest.mark.parametrize("mode", ["t1", "tn"], ids=["one connection", "one connection a call"])
def test_each_message_of_calls_over_tcp_is_there_once(pair: Pair, run: Any, tmp_path: Path, mode: str) -> None:
    for namespace, there in ((pair.near, pair.FAR), (pair.far, pair.NEAR)):
        # the kernel cuts what it sends, and not, as it would, the network card, behind the place of capture
        ip("-n", namespace, "link", "set", "eth0", "gso_max_segs", "1")
        ip("-n", namespace, "route", "add", f"{there}/32", "dev", "eth0", "advmss", str(SEGMENT))
    one = run("--format", "json", "--bpf", "tcp port 5060")
    with sipp_answers(pair.NEAR, tmp_path, pair.near, transport="t1"):
        pair.run(
            pair.far,
            *("sipp", "-sn", "uac", f"{pair.NEAR}:5060", "-i", pair.FAR, "-nostdin", "-t", mode, "-max_socket", 500),
            *("-m", CALLS, "-r", 100, "-d", 10),
            cwd=tmp_path,
            timeout=120,
        )
    summary = one.stop()
    accounted(summary)
    found = Counter(
        (labels.get("sip.method") or labels["sip.status_code"], labels["sip.cseq_method"])
        for labels in (output["labels"] for output in one.outputs())
    )
    kinds = [("INVITE", "INVITE"), ("180", "INVITE"), ("200", "INVITE"), ("ACK", "ACK"), ("BYE", "BYE"), ("200", "BYE")]
    assert found == dict.fromkeys(kinds, CALLS), summary
    assert summary["segments_merged"] > CALLS, "no message was cut: this shows nothing"
    allowed = {"unmatched", "ignored:sip", "reassembly:retransmission"}  # bare acknowledgements are nobody's
    assert set(summary["dropped"]) <= allowed, summary["dropped"]
