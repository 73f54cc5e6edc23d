"""What the distribution declares: reporter ``console``."""

from __future__ import annotations

from collections.abc import Iterable

import otus_core


@otus_core.hookimpl
def otus_components() -> Iterable[otus_core.Declaration]:
    """Declare the reporter. One call at a time keeps the lines in order; it waits for a slow reader of them."""
    yield otus_core.Reporter(
        name="console",
        factory="otus_console.reporter:ConsoleReporter",
        config="otus_console.config:ConsoleConfig",
        summary="Prints one line a message to standard output, as text or JSON",
        stability="beta",
        max_in_flight=1,
        own_retries=True,
        failure_reasons=("encode",),
        batch_size=256,
        batch_timeout=0.05,
    )
