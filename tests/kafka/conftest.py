"""The broker that the tests of this folder share. ``OTUS_TEST_KAFKA=host:port`` names another one to use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from .broker import Broker, missing_tools
from .client import make_topic
from .node import Daemon


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A running broker, for all tests of this folder."""
    address = os.environ.get("OTUS_TEST_KAFKA")
    if address:
        yield Broker.elsewhere(address)
        return
    _need_tools()
    made = Broker(tmp_path_factory.mktemp("kafka"))
    made.prepare()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def own_broker(broker: Broker) -> Broker:
    """The same, for tests that need all its listeners."""
    if broker.external:
        pytest.skip("needs a broker of its own: unset OTUS_TEST_KAFKA")
    return broker


@pytest.fixture
def daemon(own_broker: Broker, tmp_path: Path) -> Iterator[Daemon]:
    """A node of this broker, which a test may stop and start."""
    made = Daemon(own_broker, tmp_path)
    yield made
    if not own_broker.running:
        own_broker.start()
    made.end()


@pytest.fixture
def topic(broker: Broker) -> str:
    """A topic with four partitions that nobody has used."""
    return make_topic(broker)


@pytest.fixture(autouse=True)
def quiet_logs() -> None:
    """Log lines go to the standard library, where pytest shows them when a test fails."""
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.processors.KeyValueRenderer(key_order=["event"])],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _need_tools() -> None:
    missing = missing_tools()
    if missing:
        reason = f"a Kafka broker needs {', '.join(missing)} (see CONTRIBUTING.md)"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
