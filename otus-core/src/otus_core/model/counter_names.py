"""The form of counters' names: what is counted, and where that was.

frames_read    dropped{unmatched}    errors{parser:sip}    kafka.queued    kafka.dropped{report_error:timeout}
"""

from __future__ import annotations

from functools import lru_cache

NAMES_KEPT = 1024
"""Names are asked for with each batch. More than there are counters, and bounded: a reporter may give any reason."""


@lru_cache(NAMES_KEPT)
def name_of(what: str, *label: object) -> str:
    """Give the name of what is counted with a label, ``dropped{parse_error:sip}``."""
    return f"{what}{{{':'.join(map(str, label))}}}"


@lru_cache(NAMES_KEPT)
def of_reporter(reporter: str, term: str) -> str:
    """Give the name of what is counted of one reporter, ``kafka.queued``."""
    return f"{reporter}.{term}"


def term_of(name: str) -> str:
    """Give what is counted, without the reporter that it is counted of: ``queued``, ``dropped{shutdown}``."""
    return name[name.partition("{")[0].rfind(".") + 1 :]


def label_of(name: str, what: str) -> str | None:
    """Give the label in the name of a counter of ``what``, ``parse_error:sip``; ``None`` for other names."""
    return name[len(what) + 1 : -1] if name.startswith(f"{what}{{") else None


def begin_of(what: str, *label: str) -> str:
    """Give what the names with any label begin with, or with those whose label begins so: ``dropped{parse_error:``."""
    return f"{what}{{" + "".join(f"{one}:" for one in label)
