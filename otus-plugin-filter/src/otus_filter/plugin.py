"""What the distribution declares: the processors ``filter``, ``label``, ``dedup``, ``sample`` and ``limit``."""

from __future__ import annotations

from collections.abc import Iterable

import otus_core


@otus_core.hookimpl
def otus_components() -> Iterable[otus_core.Declaration]:
    """Declare the processors."""
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
    yield otus_core.Processor(
        name="dedup",
        factory="otus_filter.dedup:Dedup",
        config="otus_filter.thinning:DedupConfig",
        summary="Drops messages that were captured twice",
        stability="beta",
        counters=("duplicates", "evicted"),
    )
    yield otus_core.Processor(
        name="sample",
        factory="otus_filter.sample:Sample",
        config="otus_filter.thinning:SampleConfig",
        summary="Keeps a part of the calls, each of them whole",
        stability="beta",
        counters=("kept", "dropped"),
    )
    yield otus_core.Processor(
        name="limit",
        factory="otus_filter.limit:Limit",
        config="otus_filter.thinning:LimitConfig",
        summary="Lets so many messages a second through, of each source, method and so on",
        stability="beta",
        counters=("limited", "evicted"),
    )
