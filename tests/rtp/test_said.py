"""What parties say of their media by SIP is told with the streams that it is about."""

from __future__ import annotations

from typing import Any

import pytest

from otus_core.testing import packets
from otus_core.testing.host import Host
from otus_sip import parse
from otus_sip.reports import read_report
from tests.rtp.bench import MS, rtp

SECOND = 1000 * MS
CALLER, CALLED = "192.0.2.10", "192.0.2.20"
BODY = "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
STAT = "PS=207;OS=49680;;PR=314;OR=50240;PL=3;JI=6;LA=40;"
AUDIOCODES = {
    "received": {"packets": 314, "bytes": 50240, "lost": 3, "jitter_ms": 6, "delay_ms": 40},
    "sent": {"packets": 207, "bytes": 49680},
}
SIGNALLING = {method: (b"c1", b"f", b"t", b"b", 2, method, 0) for method in (b"BYE", b"PUBLISH")}
"""What tells the messages of a call apart, of requests."""
REPORT = (
    "VQSessionReport: CallTerm\r\nCallID: c1\r\nLocalID: <sip:b@x>\r\nRemoteID: <sip:a@x>\r\n"
    "LocalAddr: IP=192.0.2.20 PORT=5000 SSRC=2\r\nRemoteAddr: IP=192.0.2.10 PORT=4000 SSRC=0x1\r\n"
    "LocalMetrics:\r\nTimestamps: START=2026-02-21T10:50:00Z STOP=2026-02-21T10:51:00Z\r\n"
    "PacketLoss: NLR=2.5 JDR=0.5\r\nDelay: RTD=120 ESD=40 IAJ=3\r\n"
    "QualityEst: RLQ=88 RCQ=127 MOSLQ=4.2 MOSCQ=4.1 QoEEstAlg=P.564\r\n"
    "RemoteMetrics:\r\nPacketLoss: NLR=0.0 JDR=0.0\r\nQualityEst: MOSLQ=4.4\r\n"
)


def message(start: str, number: str, *, extra: str = "", body: str = "", kind: str = "application/sdp") -> bytes:
    to_tag = "" if start.startswith("INVITE") else ";tag=b"
    tags = (";tag=b", ";tag=a") if start.startswith("BYE sip:a") else (";tag=a", to_tag)
    typed = f"Content-Type: {kind}\r\n" if body else ""
    return (
        f"{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{number.replace(' ', '')}\r\nCall-ID: c1\r\nCSeq: {number}\r\n"
        f"From: <sip:a@x>{tags[0]}\r\nTo: <sip:b@x>{tags[1]}\r\n{extra}{typed}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def call(*end: tuple[str, bytes]) -> list[tuple[int, bytes]]:
    """A call with media both ways, and the messages of its end with who sends them."""
    offer, answer = (BODY.format(ip=ip, port=port) for ip, port in ((CALLER, 4000), (CALLED, 5000)))
    frames = [
        (0, packets.udp(message("INVITE sip:b@x SIP/2.0", "1 INVITE", body=offer), src=CALLER, dst=CALLED)),
        (MS, packets.udp(message("SIP/2.0 200 OK", "1 INVITE", body=answer), src=CALLED, dst=CALLER)),
    ]
    for n in range(60):
        for src, sport, dst, dport, ssrc in ((CALLER, 4000, CALLED, 5000, 1), (CALLED, 5000, CALLER, 4000, 2)):
            packet = packets.udp(rtp(n, 160 * n, ssrc=ssrc), src=src, dst=dst, src_port=sport, dst_port=dport)
            frames.append((2 * MS + 20 * MS * n + ssrc, packet))
    for n, (src, payload) in enumerate(end):
        dst = CALLED if src == CALLER else CALLER
        frames.append((2 * SECOND + n * MS, packets.udp(payload, src=src, dst=dst)))
    return [(1_771_669_800 * SECOND + at, frame) for at, frame in frames]


def reported(otus_run: Host, *end: tuple[str, bytes]) -> dict[str, Any]:
    """What is told of both streams, by SSRC."""
    ran = otus_run(call(*end), "--parser", "sip", "--parser", "rtp")
    assert (ran.status, ran.summary["unaccounted"]) == (0, 0)
    return {one["payload"]["ssrc"][-1]: one["payload"]["reported"] for one in ran.outputs if "ssrc" in one["payload"]}


def test_nothing_is_reported_where_nobody_does(otus_run: Host) -> None:
    assert reported(otus_run, (CALLER, message("BYE sip:b@x SIP/2.0", "2 BYE"))) == {"1": None, "2": None}


def test_the_header_of_bye_and_that_of_its_answer_are_those_of_either_party(otus_run: Host) -> None:
    told = reported(
        otus_run,
        (CALLER, message("BYE sip:b@x SIP/2.0", "2 BYE", extra=f"X-RTP-Stat: {STAT}\r\n")),
        (CALLED, message("SIP/2.0 200 OK", "2 BYE", extra="P-RTP-Stat: PS=60,PR=59,PL=1,MOS=4.0\r\n")),
    )
    by = {"by": "X-RTP-Stat"}
    assert told == {
        "1": {"sender": {**by, **AUDIOCODES["sent"]}, "receiver": {**by, "packets": 59, "lost": 1, "mos": 4.0}},
        "2": {"sender": {**by, "packets": 60}, "receiver": {**by, **AUDIOCODES["received"]}},
    }


def test_a_called_party_that_hangs_up_reports_of_what_it_heard(otus_run: Host) -> None:
    told = reported(otus_run, (CALLED, message("BYE sip:a@x SIP/2.0", "1 BYE", extra=f"X-RTP-Stat: {STAT}\r\n")))
    assert told["1"] == {"receiver": {"by": "X-RTP-Stat", **AUDIOCODES["received"]}}
    assert told["2"] == {"sender": {"by": "X-RTP-Stat", **AUDIOCODES["sent"]}}


@pytest.mark.parametrize("named", [True, False], ids=["by ssrc", "by address"])
def test_a_voice_quality_report_is_told_with_both_streams(otus_run: Host, named: bool) -> None:
    body = REPORT if named else REPORT.replace(" SSRC=2", "").replace(" SSRC=0x1", "")
    publish = message("PUBLISH sip:c@x SIP/2.0", "9 PUBLISH", body=body, kind="application/vq-rtcpxr")
    publish = publish.replace(b"Call-ID: c1", b"Call-ID: other")
    told = reported(otus_run, (CALLED, publish))
    figures = {"loss_pct": 2.5, "discard_pct": 0.5, "rtt_ms": 120, "jitter_ms": 3, "r": 88, "mos": 4.2}
    assert told["1"] == {"receiver": {"by": "vq-rtcpxr", **figures, "mos_conversation": 4.1}}
    assert told["2"] == {"receiver": {"by": "vq-rtcpxr", "loss_pct": 0.0, "discard_pct": 0.0, "mos": 4.4}}


@pytest.mark.parametrize(
    "said",
    [
        "",
        ";;;===",
        "PS=;PR=x;PL=-1;JI=1e9;MOS=9",
        "PS=99999999999999999999",
        "PS=٣",
        "XX=1;" * 10_000,
        "\x1b[31m=1",
    ],
)
def test_what_is_no_number_is_not_told(said: str) -> None:
    bye = parse(message("BYE sip:b@x SIP/2.0", "2 BYE", extra=f"X-RTP-Stat: {said}\r\n"))
    assert read_report(bye, SIGNALLING[b"BYE"], {"x-rtp-stat": said}) is None


@pytest.mark.parametrize("cut", range(0, len(REPORT), 7))
def test_a_report_that_is_cut_does_no_harm(cut: int) -> None:
    body = REPORT[:cut] or "x"
    publish = parse(message("PUBLISH sip:c@x SIP/2.0", "9 PUBLISH", body=body, kind="Application/VQ-RTCPXR; x=y"))
    found = read_report(publish, SIGNALLING[b"PUBLISH"], {})
    assert found is None or found[0] == b"c1"


def test_another_body_is_no_report() -> None:
    publish = message("PUBLISH sip:c@x SIP/2.0", "9 PUBLISH", body=REPORT, kind="text/plain")
    assert read_report(parse(publish), SIGNALLING[b"PUBLISH"], {}) is None
