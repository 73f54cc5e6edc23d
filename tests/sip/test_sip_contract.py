"""The parser ``sip`` keeps the contract of parsers, that of streams too."""

from __future__ import annotations

from pathlib import Path

import pytest

from otus_core.testing.contract import ParserContract
from tests.sip.messages import message

SAMPLES = {
    "invite": message("INVITE sip:bob@example.org SIP/2.0", "Content-Length: 0"),
    "response": message("SIP/2.0 200 OK", "Content-Length: 4", body=b"abcd"),
}


class TestSip(ParserContract):
    component = "sip"

    @pytest.fixture(autouse=True)
    def _samples(self, tmp_path: Path) -> None:
        self.samples = tmp_path
        for name, data in SAMPLES.items():
            (tmp_path / f"{name}.bin").write_bytes(data)
