"""Fixtures for every folder of tests."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests import needs

# A machine that is busy with other things is no fault of what is tested. (CI's own profile of Hypothesis has this too.)
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")

# A shell has what it runs in the background ignore SIGINT, and whoever we start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of captures that are not ours to publish: ``OTUS_CORPORA``, else ``../shared/corpora``."""
    return needs.corpora()


@pytest.fixture(scope="session")
def field() -> Path:
    """The folder of captures built after reports from the field."""
    return needs.field()


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Call it with a program's name to get its path; without the program the test is skipped, and fails in CI."""
    return needs.tool


@pytest.fixture(scope="session")
def require_root() -> None:
    """Skip unless root; fail in CI."""
    needs.root()


@pytest.fixture(scope="session")
def examples() -> Path:
    """The captures of ``examples/``."""
    return needs.ROOT / "examples"
