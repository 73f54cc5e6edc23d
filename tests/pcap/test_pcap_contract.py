"""The capturer ``pcap`` keeps the contract of capturers."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import ClassVar

import dpkt
import pytest

from otus_core.testing.contract import CapturerContract


class TestPcap(CapturerContract):
    component = "pcap"
    missing: ClassVar = {"files": ["/no-such-file.pcap"]}

    @pytest.fixture(autouse=True)
    def _files(self, examples: Path, tmp_path: Path) -> None:
        files = [examples / "call.pcap", examples / "fragmented.pcap"]
        self.file = files[0]
        broken = tmp_path / "broken.pcap"
        data = files[0].read_bytes()
        broken.write_bytes(data[:24] + struct.pack("<IIII", 0, 0, 1 << 31, 1 << 31) + data[24:])
        self.broken = {"files": [str(broken)]}
        self.config = {"files": [str(path) for path in files]}
        self.frames = sum(len(list(dpkt.pcap.Reader(path.open("rb")))) for path in files)
