"""The params of each command that is no task itself: one class for each set of them."""

from __future__ import annotations

from typing import Literal

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
class Look:
    """Of ``task_tap``."""

    task_id: str = option()
    filter: str = option(default="", max_length=4096, help="An expression; only what matches is shown.")
    format: Literal["text", "json"] = option(default="text")
    columns: int = option(default=0, ge=0, le=10_000, help="Width of the lines; 0 for any.")
    colour: bool = option(default=False)
    rate: int = option(default=100, ge=1, le=1000, help="Messages a second that are shown at most.")


@configuration
class Pruning:
    """Of ``task_prune``: the ids of the tasks that are to stay."""

    keep: tuple[str, ...] = option()
