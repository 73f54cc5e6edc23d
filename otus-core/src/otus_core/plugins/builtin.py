"""The core's own components, declared the way every plugin declares its own."""

from __future__ import annotations

from collections.abc import Iterable

from otus_core.declarations import Declaration, NoConfig, Reporter
from otus_core.hookspecs import hookimpl


@hookimpl
def otus_components() -> Iterable[Declaration]:
    """Declare the reporter that counts and discards."""
    yield Reporter(
        name="discard",
        factory="otus_core.pipeline.discard:DiscardReporter",
        config=NoConfig,
        summary="Counts and discards; every message counts as acknowledged",
        stability="stable",
        batch_size=512,
        batch_timeout=1.0,
    )
