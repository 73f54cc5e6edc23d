"""The calls that the screen keeps: each as it was last reported, the newest 20,000."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from otus_calls.commands import words
from otus_calls.commands.finding import Numbered

CALLS_MAX = 20_000
Key = tuple[str, str]

SORTS: Mapping[str, Callable[[words.Facts], Any]] = {
    "start": lambda facts: facts["start"] or "",
    "state": lambda facts: facts["state"],
    "from → to": words.parties,
    "code": lambda facts: facts["code"] or 0,
    "pdd": lambda facts: facts["pdd"] or 0.0,
    "talk": lambda facts: facts["talk"] or 0.0,
    "mos": lambda facts: 9.0 if facts["mos"] is None else facts["mos"],
    "flags": lambda facts: -len(facts["flags"]),
}
"""What calls can be sorted by, in the order in which a key goes through it."""


@attrs.frozen
class View:
    """Which calls are shown, and how they are ordered."""

    sort: str = "start"
    down: bool = False
    words: str = ""
    problems: bool = False


class Store:
    """Keeps calls, by Call-ID and the caller's tag. ``forgotten`` counts those that gave way to newer ones,
    ``under_way`` those that have not ended.
    """

    def __init__(self, most: int = CALLS_MAX) -> None:
        self._most = most
        self._calls: dict[Key, Numbered] = {}
        self._begun = 0
        self.forgotten = 0
        self.under_way = 0

    def __len__(self) -> int:
        return len(self._calls)

    def put(self, facts: dict[str, Any]) -> None:
        """Take what was reported of a call, which keeps its number."""
        key = (facts["call_id"], facts["from_tag"])
        before = self._calls.get(key)
        if before is None:
            self._begun += 1
            if len(self._calls) >= self._most:
                self._forget()
        self._calls[key] = Numbered(self._begun if before is None else before.number, facts, True)
        self.under_way += _goes_on(facts) - (before is not None and _goes_on(before.facts))

    def _forget(self) -> None:
        """Give up the oldest call: one that has ended, if there is one among the oldest hundred."""
        oldest = [key for key, _ in zip(self._calls, range(100), strict=False)]
        ended = (key for key in oldest if self._calls[key].facts["ended"] is not None)
        gone = self._calls.pop(next(ended, oldest[0]))
        self.under_way -= _goes_on(gone.facts)
        self.forgotten += 1

    def get(self, key: Key) -> Numbered | None:
        """Give a call as it was last reported."""
        return self._calls.get(key)

    def chosen(self, view: View) -> list[Numbered]:
        """Give the calls that are to be shown, in their order."""
        wanted = view.words.lower().split()
        found = [
            one
            for one in self._calls.values()
            if (not view.problems or words.is_problem(one.facts)) and (not wanted or _matches(one.facts, wanted))
        ]
        key = SORTS[view.sort]
        found.sort(key=lambda one: (key(one.facts), one.number), reverse=view.down)
        return found


def _goes_on(facts: words.Facts) -> bool:
    return facts["ended"] is None


def _matches(facts: words.Facts, wanted: Sequence[str]) -> bool:
    said = (
        *(words.parties(facts), words.state(facts), facts["state"], facts["call_id"], words.flags(facts)),
        *(words.end(facts[side]) for side in ("caller", "callee")),
        *(facts[side]["agent"] or "" for side in ("caller", "callee")),
        str(facts["code"] or ""),
    )
    text = "\n".join(said).lower()
    return all(word in text for word in wanted)
