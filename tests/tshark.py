"""What tshark says of the RTP streams of a capture, for tests that compare it with what we say."""

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
