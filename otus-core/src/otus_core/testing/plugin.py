"""The pytest plugin: ``otus_run`` runs a task on a capture file. Nothing heavy is imported until a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from otus_core.testing.host import Host

pytest.register_assert_rewrite("otus_core.testing.contract")


@pytest.fixture
def otus_run(tmp_path: Path) -> Host:
    """Call it with frames or a capture file, and options of ``otus run``; gives the outputs and the counters."""
    from otus_core.testing.host import Host

    return Host(tmp_path)
