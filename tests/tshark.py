"""What tshark says of the SIP and RTP of a capture, for tests that compare it with what we say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import attrs

from tests.needs import tool

_LINE = re.compile(
    r"\s*[\d.]+\s+[\d.]+\s+(\S+)\s+(\d+)\s+(\S+)\s+(\d+)\s+0x([0-9A-F]{8})\s+.*?\s+(\d+)\s+(-?\d+)\s+\(.*?%\)\s+(.*)"
)


@attrs.frozen
class RtpStream:
    """One stream; times in ms. ``delta`` is least, mean, most; ``jitter`` is mean, most; ``ssrc`` is eight digits."""

    ends: tuple[str, int, str, int]
    ssrc: str
    packets: int
    lost: int
    delta: tuple[float, float, float]
    jitter: tuple[float, float]


def rtp_streams(capture: Path, *options: str) -> list[RtpStream]:
    """Give the streams that ``tshark -z rtp,streams`` sees."""
    command = [tool("tshark"), "-q", "-z", "rtp,streams", *options, "-r", str(capture)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = []
    for line in filter(None, map(_LINE.match, shown.splitlines())):
        src, sport, dst, dport, ssrc, packets, lost, rest = line.groups()
        least, mean, most, _jitter_min, jitter, jitter_max = map(float, rest.split()[:6])
        ends = (src, int(sport), dst, int(dport))
        found.append(RtpStream(ends, ssrc.lower(), int(packets), int(lost), (least, mean, most), (jitter, jitter_max)))
    return found


RTP_BY_SIP = (
    "goffinet__RTP-Protocol.pcap",
    "goffinet__SIP-Call-Flow-Over-TCP.pcap",
    "goffinet__private-test-sip-2.pcapng",
    "goffinet__sip-2phones-B2BUA-Asterisk.pcapng",
    "goffinet__voip-extension.pcap",
    "goffinet__voip1b.pcapng",
    "michalcab__sip.pcap",
    "ndpi__sip.pcap",
    "ptavi__sip.cap",
    "sibilant__SIP_CALL_RTP_G711.pcap",
    "suricata__sip-method__sip.pcap",
    "wireshark-wiki__adsl-cpe__nb6-telephone.pcap",
    "wireshark-wiki__sip-and-rtp__SIP_DTMF2.cap",
    "wireshark-wiki__sip-and-rtp__h223-over-rtp.pcap.gz",
    "wireshark-wiki__sip-and-rtp__sip-rtp-dvi4.pcap",
    "wireshark-wiki__sip-and-rtp__sip-rtp-g711.pcap",
    "wireshark-wiki__sip-and-rtp__sip-rtp-g729a.pcap",
    "wireshark-wiki__sip-and-rtp__sip-rtp-ilbc.pcap",
)
"""Captures with RTP that calls by SIP announce."""
SIP_FIELDS = (
    "frame.time_epoch",
    "ip.src",
    "ipv6.src",
    "ip.dst",
    "ipv6.dst",
    "udp.srcport",
    "tcp.srcport",
    "udp.dstport",
    "tcp.dstport",
    "sip.Call-ID",
    "sip.from.tag",
    "sip.to.tag",
    "sip.CSeq.seq",
    "sip.CSeq.method",
    "sip.Method",
    "sip.Status-Code",
    "sip.Via.branch",
    "sdp.version",
)


@attrs.frozen
class SipMessage:
    """One message; ``time`` in ns since 1970, ``method`` of a request, ``status`` of a response."""

    time: int
    src: tuple[str, str]
    dst: tuple[str, str]
    call_id: str
    from_tag: str
    to_tag: str
    cseq: int
    cseq_method: str
    method: str
    status: int
    branch: str
    has_sdp: bool


def sip_messages(capture: Path, *options: str) -> list[SipMessage]:
    """Give the SIP messages that tshark sees, in the order of the capture; of a frame that holds several, the first."""
    command = [tool("tshark"), "-r", str(capture), "-Y", "sip", "-T", "fields", "-E", "separator=/t", *options]
    command += ["-E", "occurrence=f", "-E", "quote=n"]
    command += [part for field in SIP_FIELDS for part in ("-e", field)]
    shown = subprocess.run(command, capture_output=True, check=False).stdout.decode("utf-8", "replace")
    found = []
    for line in shown.splitlines():
        values = line.split("\t")
        if len(values) != len(SIP_FIELDS):
            continue
        time, s4, s6, d4, d6, us, ts, ud, td, call, tag, to, cseq, of, method, status, branch, version = values
        seconds, _, rest = time.partition(".")
        at = int(seconds) * 10**9 + int(rest[:9].ljust(9, "0"))
        ends = ((s4 or s6, us or ts), (d4 or d6, ud or td))
        numbers = (int(cseq) if cseq.isdecimal() else -1, int(status) if status.isdecimal() else 0)
        found.append(SipMessage(at, *ends, call, tag, to, numbers[0], of, method, numbers[1], branch, bool(version)))
    return found


def last_time(capture: Path) -> int:
    """Give the time of the newest frame, in ns since 1970."""
    command = [tool("capinfos"), "-T", "-r", "-e", "-S", str(capture)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    seconds, _, rest = shown[-1].partition(".") if shown else ("0", "", "")
    return int(seconds) * 10**9 + int(rest[:9].ljust(9, "0")) if seconds.isdecimal() else 0
