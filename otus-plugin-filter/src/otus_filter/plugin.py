"""What the distribution declares: processors ``filter`` and ``label``."""

from __future__ import annotations

from collections.abc import Iterable

import otus_core


@otus_core.hookimpl
def otus_components() -> Iterable[otus_core.Declaration]:
    """Declare both processors."""
    yield otus_core.Processor(
        name="filter",
        factory="otus_filter.filter:Filter",
        config="otus_filter.config:FilterConfig",
        summary="Keeps or drops messages by rules and expressions over labels and addresses",
        stability="beta",
    )
    yield otus_core.Processor(
        name="label",
        factory="otus_filter.label:Label",
        config="otus_filter.config:LabelConfig",
        summary="Adds static labels and the node's name, address and tags",
        stability="beta",
    )
