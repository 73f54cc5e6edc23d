"""Streams of real captures against ``tshark -z rtp,streams``, and whether each finds its call."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing.host import Host
from tests.needs import tool
from tests.tshark import RTP_BY_SIP, RtpStream, rtp_streams

SAME_MS = 0.006
"""Two decimals are printed, and ours are rounded as well."""

OTHERWISE = {
    # Comfort noise is mixed in: tshark's mean weighs each sample by the number of all packets so far, and its jitter
    # goes on across the pauses.
    "06c156fd": "comfort noise",
    "44c61afb": "comfort noise",
    "5a3361b3": "comfort noise",
    "42f433d4": "comfort noise",
    # tshark takes the three last packets of an event, which have one sequence number here, for three, and has −6 lost.
    "3edd3882": "events",
    "5711bf84": "events",
    # A talkspurt begins many times: tshark has the silence before it in its jitter, and weighs the mean as above.
    "58f33dea": "talkspurts",
    # Video: tshark takes the marker at the end of each frame for the beginning of a talkspurt, and leaves every second
    # packet out.
    "43306582": "video",
    # tshark sees 32 packets only with its heuristic for RTP over UDP. Its jitter is 0.337 and 0.510 ms then, and ours
    # 0.329 and 0.499: the second packet has a marker, and gives no sample here.
    "3adf0949": "tshark ties one packet of 32 to the call",
}
"""Streams about which tshark says something else, by SSRC; all else is the same."""

UNTIED = {
    "00002e3d": "port 40362 is in no session description of the capture: it was agreed on by H.323",
}
"""Streams of tshark that no session description announces."""


def streams(otus_run: Host, capture: Path, *options: str) -> list[dict[str, Any]]:
    ran = otus_run(capture, "--parser", "sip", "--parser", "rtp", *options)
    assert (ran.status, ran.summary["unaccounted"]) == (0, 0)
    assert not ran.errors or "the task runs with 1" in ran.errors
    found = [one for one in ran.outputs if one["payload_type"] == "stream"]
    counted = sum(one["payload"][name] for one in found for name in ("packets", "duplicates", "strays"))
    assert counted == ran.summary["consumed"].get("parser:rtp", 0)
    return found


def same(ours: dict[str, Any], theirs: RtpStream) -> bool:
    """Whether packets, deltas, mean and maximum jitter are the same."""
    delta, jitter = ours["delta_ms"], ours["jitter_ms"]
    pairs = zip(
        (delta["min"], delta["mean"], delta["max"], jitter["mean"], jitter["max"]),
        (*theirs.delta, *theirs.jitter),
        strict=True,
    )
    # Of a single packet tshark has −1, and ours is null
    return ours["packets"] == theirs.packets and all(a is None or abs(a - b) < SAME_MS for a, b in pairs)


def tied_to_sdp(capture: Path) -> dict[tuple[str, int, str, int, str], int]:
    """Count the RTP packets that tshark ties to a session description, by addresses, ports and SSRC."""
    fields = ("ip.src", "udp.srcport", "ip.dst", "udp.dstport", "rtp.ssrc")
    command = [tool("tshark"), "-r", str(capture), "-Y", 'rtp.setup-method contains "SDP"', "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    found: dict[tuple[str, int, str, int, str], int] = {}
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        src, sport, dst, dport, ssrc = line.split("\t")
        if "," not in line and ssrc:
            key = (src, int(sport), dst, int(dport), ssrc.removeprefix("0x"))
            found[key] = found.get(key, 0) + 1
    return found


@pytest.mark.slow
def test_rtp_that_tshark_ties_to_sdp_finds_its_call(corpora: Path, otus_run: Host) -> None:
    tied = matched = 0
    for name in RTP_BY_SIP:
        ours: dict[tuple[str, int, str, int, str], int] = {}
        for one in streams(otus_run, corpora / name, "--workers", "2"):
            facts = one["payload"]
            key = (one["src_ip"], one["src_port"], one["dst_ip"], one["dst_port"], facts["ssrc"])
            taken = facts["packets"] + facts["duplicates"] + facts["strays"]
            ours[key] = ours.get(key, 0) + (taken if facts["call_id"] else 0)
        for key, packets in tied_to_sdp(capture=corpora / name).items():
            tied += packets
            matched += min(packets, ours.get(key, 0))
    assert tied > 5000
    assert matched >= 0.995 * tied


@pytest.mark.parametrize("name", RTP_BY_SIP)
def test_streams_are_those_of_tshark(corpora: Path, otus_run: Host, name: str) -> None:
    ours = {}
    for one in streams(otus_run, corpora / name):
        assert one["payload"]["call_id"], "each was announced"
        ours[(one["src_ip"], one["src_port"], one["dst_ip"], one["dst_port"], one["payload"]["ssrc"])] = one["payload"]
    theirs = rtp_streams(corpora / name)
    assert theirs
    odd = {one.ssrc for one in theirs if (*one.ends, one.ssrc) not in ours}
    assert odd <= set(UNTIED)
    different = {one.ssrc for one in theirs if one.ssrc not in odd and not same(ours[(*one.ends, one.ssrc)], one)}
    assert different == {one.ssrc for one in theirs} & set(OTHERWISE)
