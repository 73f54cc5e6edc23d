"""The configurations of the processors that let fewer messages through: ``dedup``, ``sample`` and ``limit``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from otus_core import ConfigInvalid, ConfigProblem, Duration, configuration, option
from otus_filter.config import LABEL_NAME, NAME_MAX

ENTRIES_MAX = 1 << 20
"""Each takes some hundred bytes, and packets choose how many there are."""
PER_MAX = 4
"""Each costs a message a look-up."""
SIDES = ("source", "destination", "payload_type")


@configuration
class DedupConfig:
    """Which messages are the same."""

    window: Duration = option(
        default=0.5, gt=0, le=60, help="A message is dropped if the same one was captured less than this before"
    )
    max_entries: int = option(default=65536, ge=1, le=ENTRIES_MAX, help="Messages that are remembered at most")


@configuration
class SampleConfig:
    """Which calls stay."""

    rate: float = option(ge=0, le=1, example=0.1, help="Part of the calls that stays, 0 to 1")
    seed: str = option(
        default="otus", max_length=64, help="Nodes with the same seed choose the same calls; another one chooses others"
    )
    others: Literal["keep", "drop"] = option(default="keep", help="The fate of what belongs to no call")


@configuration
class LimitConfig:
    """How many messages a second stay, of whom."""

    rate: float = option(gt=0, le=1e6, example=50, help="Messages a second that stay, of each source, method and so on")
    burst: int | None = option(
        default=None, ge=1, le=1_000_000, help="Messages that may come at once; by default those of a second"
    )
    per: tuple[str, ...] = option(
        default=("source",),
        max_length=PER_MAX,
        help="What is limited: source, destination, payload_type, and labels such as sip.method; together",
    )
    max_entries: int = option(default=65536, ge=1, le=ENTRIES_MAX, help="Sources and so on that are remembered at most")

    def __attrs_post_init__(self) -> None:
        """Refuse what is neither a side nor a label. Raises ConfigInvalid."""
        problems = [
            ConfigProblem(f"per[{n}]", f"{one[:40]!r} is none of {', '.join(SIDES)}, and no label such as sip.method")
            for n, one in enumerate(self.per)
            if one not in SIDES and not ("." in one and len(one) <= NAME_MAX and re.fullmatch(LABEL_NAME, one))
        ]
        if problems:
            raise ConfigInvalid(problems)

    def labels_read(self) -> Iterator[tuple[str, str]]:
        """Give the labels that are asked for, each with the key that names it."""
        yield from ((f"per[{n}]", one) for n, one in enumerate(self.per) if one not in SIDES)
