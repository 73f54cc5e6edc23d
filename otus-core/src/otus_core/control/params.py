"""The params of each command that is no task itself: one class for each set of them."""

from __future__ import annotations

from otus_core.config.fields import configuration, option


@configuration
class NoParams:
    """Of commands that ask for nothing."""


@configuration
class OneTask:
    """Of commands about one task."""

    task_id: str = option()


@configuration
class OneOrAll:
    """Of commands about one task, or about all."""

    task_id: str | None = option(default=None)


@configuration
class Deletion:
    """Of ``task_delete``."""

    task_id: str = option()
    discard: bool = option(default=False, help="Also remove what its spools hold.")


@configuration
class Pruning:
    """Of ``task_prune``: the ids of the tasks that are to stay."""

    keep: tuple[str, ...] = option()
