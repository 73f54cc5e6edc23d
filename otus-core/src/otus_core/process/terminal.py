"""What standard output is, as far as lines for people depend on it: how wide a terminal, and whether it has colours."""

from __future__ import annotations

import os
import sys

COLUMNS_MAX = 4096
"""No terminal is as wide as this."""


def terminal_columns(descriptor: int = 1) -> int:
    """Give the width of a terminal, that of the environment's COLUMNS first; 0 where there is neither."""
    told = os.environ.get("COLUMNS", "")
    # POSIX, XBD 8.3: COLUMNS is what the user prefers. What is no width is as if it were not there.
    if told.isdecimal() and 0 < int(told[:9]) <= COLUMNS_MAX:
        return int(told[:9])
    try:
        return os.get_terminal_size(descriptor).columns if os.isatty(descriptor) else 0
    except OSError:
        return 0


def is_coloured() -> bool:
    """Whether standard output is a terminal that shows colours, and is wanted to."""
    # no-color.org: the variable counts when it is there and not empty.
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
