"""The capturer ``pcap`` keeps the contract of capturers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import dpkt
import pytest

from otus_core.testing.contract import CapturerContract


class TestPcap(CapturerContract):
    component = "pcap"
    missing: ClassVar = {"files": ["/no-such-file.pcap"]}

    @pytest.fixture(autouse=True)
    def _files(self, examples: Path) -> None:
        files = [examples / "call.pcap", examples / "fragmented.pcap"]
        self.config = {"files": [str(path) for path in files]}
        self.frames = sum(len(list(dpkt.pcap.Reader(path.open("rb")))) for path in files)
