"""Memory stays flat whatever the size of the file, plain or compressed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

READ = """
import sys, zlib
from otus_pcap.capturer import PcapCapturer
from otus_pcap.config import PcapConfig

def peak():  # getrusage's figure is inherited from the process that started this one
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

def run(name):
    capturer = PcapCapturer(PcapConfig(files=[name]))
    capturer.open()
    frames = 0
    while (batch := capturer.read()) is not None:
        frames += len(batch)
    capturer.close()
    return frames

run(sys.argv[1])
before = peak()
frames = run(sys.argv[2])
print(frames, peak() - before, before)
"""


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_reading_200_mb_adds_nothing(tmp_path: Path, compressed: bool) -> None:
    import zlib

    from tests.pcap.files import pcap_header, pcap_record

    packer = zlib.compressobj(1, wbits=31)
    record = pcap_record(bytes(1000)) * 1000
    for name, times in (("small", 2), ("big", 200)):
        with (tmp_path / name).open("wb") as file:
            for piece in (pcap_header(), *([record] * times)):
                file.write(packer.compress(piece) if compressed else piece)
            if compressed:
                file.write(packer.flush())
                packer = zlib.compressobj(1, wbits=31)
    done = subprocess.run(
        [sys.executable, "-c", READ, tmp_path / "small", tmp_path / "big"], capture_output=True, timeout=120, check=True
    )
    frames, grown_kib, before_kib = map(int, done.stdout.split())
    assert frames == 200_000
    assert grown_kib < 1024
    assert before_kib < 64 * 1024
