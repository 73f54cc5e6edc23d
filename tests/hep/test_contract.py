"""The reporter ``hep`` keeps the contract of reporters, over each transport."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from otus_core.testing.contract import ReporterContract
from tests.hep.servers import Server, make_certificates, server_context
from tests.patience import wait

STILL = 5
"""So many looks at the server's packets find nothing new when all have arrived."""


class HepContract(ReporterContract):
    component = "hep"
    unreachable: ClassVar[Mapping[str, Any] | None] = {"servers": ["127.0.0.1:1"], "transport": "tcp", "timeout": 0.2}
    server: Server

    def arrived(self) -> int:
        """Give what came; what is under way on this machine arrives within a moment."""
        seen, still = -1, 0

        def is_still() -> bool:
            nonlocal seen, still
            before, seen = seen, len(self.server.packets)
            still = still + 1 if before == seen else 0
            return still == STILL

        wait(is_still, what="nothing more comes")
        return seen


class TestUdp(HepContract):
    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with Server(stream=False) as self.server:
            self.config = {"servers": [self.server.address], "node_name": "here"}
            yield


class TestTcp(HepContract):
    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with Server() as self.server:
            self.config = {"servers": [self.server.address], "transport": "tcp", "settle": 0.01}
            yield


class TestTls(HepContract):
    @pytest.fixture(autouse=True)
    def _server(self, certificates: Path) -> Iterator[None]:
        with Server(context=server_context(certificates, client=True)) as self.server:
            self.config = {
                "servers": [f"localhost:{self.server.port}"],
                "transport": "tls",
                "tls": {
                    "ca_file": str(certificates / "ca.pem"),
                    "cert_file": str(certificates / "client.pem"),
                    "key_file": str(certificates / "client.key"),
                },
                "settle": 0.01,
            }
            yield


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))
