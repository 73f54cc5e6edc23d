"""Which components of a task are deprecated."""

from __future__ import annotations

from collections.abc import Iterator

from otus_core.plugins.records import deprecation
from otus_core.task.spec import ComponentSpec, TaskConfig


def find_deprecated(config: TaskConfig) -> list[str]:
    """Give a warning for each component that is, with the key that names it."""
    return [
        f"{key}: {spec.declaration.kind} {spec.type!r} ({spec.record.distribution} {spec.record.version}) is {said}"
        for key, spec in _components(config)
        if (said := deprecation(spec.declaration))
    ]


def _components(config: TaskConfig) -> Iterator[tuple[str, ComponentSpec]]:
    yield "capture", config.capture
    lists = (("parsers", config.parsers), ("processors", config.processors), ("reporters", config.reporters))
    for key, specs in lists:
        yield from ((f"{key}[{n}]", spec) for n, spec in enumerate(specs))
