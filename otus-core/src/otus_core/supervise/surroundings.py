"""What a task is given by whoever runs it: ``otus run`` or the daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from otus_core.process.connections import Gathered
from otus_core.process.output import LineMerger
from otus_core.process.spawn import Reserve
from otus_core.values import frozen
from otus_core.worker.assembly import Node


@frozen(kw_only=True)
class Surroundings:
    """What a supervisor is given by its owner.

    ``plugins`` are the loader's settings, so that workers load what the parent did.

    ``isatty`` and ``columns`` are of standard output; ``columns`` are 0 where there is no terminal.

    ``user``: the ids of the user and the group that workers become when they are root.
    """

    node: Node
    plugins: Mapping[str, Any]
    merger: LineMerger
    user: tuple[int, int] | None = None
    isatty: bool = False
    columns: Callable[[], int] = lambda: 0
    log_level: str = "info"
    on_change: Callable[[], None] = lambda: None
    connections: Gathered = attrs.field(factory=Gathered)
    reserve: Reserve = attrs.field(factory=Reserve)
