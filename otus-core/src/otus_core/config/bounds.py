"""Holds values to what their field says of them: lengths, bounds, choices and patterns."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from otus_core.config.fields import Option
from otus_core.config.problems import SHOWN_MAX, Problems, join, tell
from otus_core.config.shape import Field, figure, is_duration
from otus_core.errors import closest


def check_bounds(field: Field, value: Any, path: str, problems: Problems) -> None:
    """Hold a value to its option: lengths are the value's own, bounds and choices hold for each item of a list."""
    option = field.option
    if isinstance(value, (str, tuple, list, dict, frozenset)):
        _check_length(option, value, path, problems)
    if isinstance(value, (tuple, list)):
        for i, item in enumerate(value):
            _check_one(field, item, join(path, i), problems)
    else:
        _check_one(field, value, path, problems)


def _check_length(option: Option, value: Any, path: str, problems: Problems) -> None:
    unit = "characters" if isinstance(value, str) else "items"
    if option.min_length is not None and len(value) < option.min_length:
        problems.add(
            path, "must not be empty" if option.min_length == 1 else f"must have at least {option.min_length} {unit}"
        )
    if option.max_length is not None and len(value) > option.max_length:
        problems.add(path, f"must have at most {option.max_length} {unit}, has {len(value)}")


def _check_one(field: Field, value: Any, path: str, problems: Problems) -> None:
    option = field.option
    if option.choices and value is not None and value not in option.choices:
        close = closest(str(value)[:SHOWN_MAX], map(str, option.choices))
        hint = f"; did you mean {close}?" if close is not None else ""
        problems.add(path, f"must be one of {', '.join(map(str, option.choices))}, got {tell(value)}{hint}")
    elif isinstance(value, str) and option.pattern is not None and not _pattern(option.pattern).fullmatch(value):
        problems.add(path, f"must match {option.pattern}, got {tell(value)}")
    # To isinstance() a bool is an int, and true is no number that could be at least 1.
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_limits(field, value, path, problems)


def _check_limits(field: Field, value: float, path: str, problems: Problems) -> None:
    option, shape = field.option, field.shape
    for bound, holds, words in (
        (option.ge, option.ge is None or value >= option.ge, "at least"),
        (option.gt, option.gt is None or value > option.gt, "greater than"),
        (option.le, option.le is None or value <= option.le, "at most"),
        (option.lt, option.lt is None or value < option.lt, "less than"),
    ):
        if bound is not None and not holds:
            got = figure(value, shape) if is_duration(shape) else tell(value)
            problems.add(path, f"must be {words} {figure(bound, shape)}, got {got}")


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
