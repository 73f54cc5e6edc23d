"""The broker that the tests of this folder share. ``OTUS_TEST_KAFKA=host:port`` names another one to use."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from .broker import Broker, missing_tools

_numbers = itertools.count()


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
def new_topic() -> Callable[[str], str]:
    """Give names of topics that nobody has used."""
    run = os.urandom(4).hex()
    return lambda stem="otus": f"{stem}-{run}-{next(_numbers)}"


def _need_tools() -> None:
    missing = missing_tools()
    if missing:
        reason = f"a Kafka broker needs {', '.join(missing)} (see CONTRIBUTING.md)"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
