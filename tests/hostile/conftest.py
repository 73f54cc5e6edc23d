"""A node for each test, that ends with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.plugins.distributions import Site
from tests.e2e.conftest import node
from tests.e2e.node import Node
from tests.e2e.test_plugin_faults import PARTS, TICKER

__all__ = ["node"]


@pytest.fixture
def start(node: Node, tmp_path: Path) -> Callable[[], Node]:
    """Start a node that has a live source which needs no privilege."""
    Site(folder=tmp_path).install("otus-plugin-ticker", TICKER, modules={"ticker_parts": PARTS})

    def started() -> Node:
        node.start(PYTHONPATH=str(tmp_path))
        return node

    return started
