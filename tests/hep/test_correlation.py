"""RTCP, and records of calls, have the Call-ID of the call that they belong to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otus_core.testing import packets
from tests.e2e.test_hidden import write
from tests.e2e.test_run import otus
from tests.hep.servers import Server
from tests.hep.test_encoding import RTCP
from tests.sip.messages import message


def described(port: int, profile: str) -> bytes:
    host = 1 if port == 4000 else 2
    body = f"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.{host}\nt=0 0\nm=audio {port} {profile} 0\n"
    return body.replace("\n", "\r\n").encode()


@pytest.mark.parametrize("profile", ["RTP/AVP", "RTP/SAVP"])
def test_rtcp_and_calls_have_the_call_id(tmp_path: Path, profile: str) -> None:
    """And of SRTCP nothing is sent that was only read by mistake."""
    here, there = ("192.0.2.1", "192.0.2.2")
    invite = message("INVITE sip:bob@example.net SIP/2.0", body=described(4000, profile))
    answer = message("SIP/2.0 200 OK", body=described(5000, profile))
    call_id = next(line for line in invite.split(b"\r\n") if line.startswith(b"Call-ID: "))[9:].decode()
    capture = write(
        tmp_path / "call.pcap",
        packets.udp(invite, src=here, dst=there),
        packets.udp(answer, src=there, dst=here),
        packets.udp(RTCP, src=here, dst=there, src_port=4001, dst_port=5001),
    )
    with Server() as server:
        reporter = {"type": "hep", "config": {"servers": [server.address], "transport": "tcp", "records": ["call"]}}
        task = {"capture": {"type": "pcap", "files": [str(capture)]}, "parsers": ["sip", "rtp"],
                "processors": ["calls"], "reporters": [reporter]}  # fmt: skip
        path = tmp_path / "task.json"
        path.write_text(json.dumps(task))
        done = otus("run", "--task", path, "-q")
        assert done.returncode in (0, 1), done.stderr
        found = {(one.kind, one.correlation) for one in server.until(4)}
        (rtcp,) = [one for one in server.packets if one.kind == 5]
    assert found == {(1, call_id), (5, call_id), (100, call_id)}
    told = json.loads(rtcp.payload)
    if profile == "RTP/SAVP":
        assert told == {"type": 200, "report_count": 2, "ssrc": 1, "encrypted": True}
    else:
        assert told["report_blocks"][0]["source_ssrc"] == 2
    assert (rtcp.src, rtcp.src_port, rtcp.dst, rtcp.dst_port) == (here, 4001, there, 5001)
