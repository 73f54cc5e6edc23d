"""A node for each test, that ends with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.node import Node


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("n"))
    yield made
    made.end()
