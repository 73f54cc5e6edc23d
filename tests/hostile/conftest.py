"""A node for each test, that ends with it."""

from __future__ import annotations

from tests.e2e.conftest import node

__all__ = ["node"]
