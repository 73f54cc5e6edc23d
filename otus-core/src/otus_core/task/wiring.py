"""Whether a task's components fit together, as far as their declarations tell: checked when the task is validated, not
when it runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from otus_core.config.problems import Problems, unknown_key
from otus_core.errors import closest
from otus_core.model.text import printable
from otus_core.task.spec import ComponentSpec, ReporterSpec

LABEL_SHOWN = 64
"""Characters of an unknown label that are looked for and shown."""
RAW = "raw"
"""Payload type of a packet that no parser took and that is forwarded."""


def check_wiring(
    problems: Problems,
    capture: ComponentSpec | None,
    parsers: Sequence[ComponentSpec],
    processors: Sequence[ComponentSpec],
    reporters: Sequence[ReporterSpec],
    data: Mapping[str, Any],
    fanout: bool,
) -> None:
    """Note what does not fit.

    ``data`` is the task as given; ``fanout`` tells that its ``workers`` came as ``capture.fanout_size``.
    """
    workers = data.get("workers", 1)
    if capture is not None and type(workers) is int and workers > 1 and not capture.declaration.shardable:
        where = "capture.fanout_size" if fanout else "workers"
        problems.add(where, f"is {workers}, but capturer {capture.type} cannot be shared: it runs with 1 worker")
    _check_payload_types(problems, parsers, processors, reporters, data.get("unmatched_policy") == "forward")
    _check_spools(problems, reporters)
    _check_fallbacks(problems, reporters, _read_ids(data.get("reporters")))


def check_labels(problems: Problems, parsers: Sequence[ComponentSpec], processors: Sequence[ComponentSpec]) -> None:
    """Note labels that nobody makes: a filter with one would keep nothing, or everything, without a word.

    Only parsers and processors that declare their ``labels`` are judged, each by the first part of their names; the
    labels of a processor's records are there behind it. A processor's settings tell with ``labels_read()`` (pairs of
    key and label) what it asks for, and with ``labels_added()`` what it adds for those behind it.
    """
    declared = {label for spec in parsers for label in spec.declaration.labels}
    made = {label for spec in processors for label in spec.declaration.labels}
    protocols = {label.partition(".")[0] for label in declared | made}
    added: set[str] = set()
    for i, spec in enumerate(processors):
        for key, label in getattr(spec.settings, "labels_read", tuple)():
            if label.partition(".")[0] in protocols and label not in declared | added:
                close = closest(label[:LABEL_SHOWN], sorted(declared | added))
                hint = f"; did you mean {close}?" if close else f"; there are: {', '.join(sorted(declared | added))}"
                problems.add(
                    f"processors[{i}].config.{key}", f"there is no label {printable(label, LABEL_SHOWN)!r}{hint}"
                )
        added.update(getattr(spec.settings, "labels_added", tuple)(), spec.declaration.labels)


def _check_payload_types(
    problems: Problems,
    parsers: Sequence[ComponentSpec],
    processors: Sequence[ComponentSpec],
    reporters: Sequence[ReporterSpec],
    forward: bool,
) -> None:
    """Note processors and reporters for whose payload types nobody stands before them."""
    produced = {payload_type for spec in parsers for payload_type in spec.declaration.payload_types}
    if forward:
        produced.add(RAW)
    for i, spec in enumerate(processors):
        accepted = spec.declaration.accepts
        if parsers and accepted and not produced.intersection(accepted):
            problems.add(f"processors[{i}]", _mismatch(spec, accepted, produced))
        produced.update(spec.declaration.produces)  # for those behind it: processors run in the order of the list
    for i, spec in enumerate(reporters):
        accepted = spec.declaration.payload_types
        if parsers and accepted and not produced.intersection(accepted):
            problems.add(f"reporters[{i}]", _mismatch(spec, accepted, produced))


def _mismatch(spec: ComponentSpec, accepted: Sequence[str], produced: set[str]) -> str:
    made = ", ".join(sorted(produced))
    return f"{spec.type} takes payloads of type {', '.join(accepted)}, and what comes to it is of type {made}"


def _check_spools(problems: Problems, reporters: Sequence[ReporterSpec]) -> None:
    taken: dict[str, str] = {}
    for i, spec in enumerate(reporters):
        if spec.spool is None:
            continue
        path = os.path.normpath(spec.spool.path)  # two ways to write one folder are one folder
        if path in taken:
            problems.add(f"reporters[{i}].spool.path", f"is that of {taken[path]} already: give each its own folder")
        taken.setdefault(path, spec.id)


def _read_ids(entries: Any) -> list[str]:
    """Give the ids of all entries, also of those that are not valid, so that one mistake is told once."""
    entries = entries if isinstance(entries, (list, tuple)) else ()
    named = (e.get("id", e.get("type", e.get("name"))) if isinstance(e, Mapping) else e for e in entries)
    return [name for name in named if isinstance(name, str)]


def _check_fallbacks(problems: Problems, reporters: Sequence[ReporterSpec], known: Sequence[str]) -> None:
    following = {spec.id: spec.fallback for spec in reporters}
    for i, spec in enumerate(reporters):
        if spec.fallback is None:
            continue
        path = f"reporters[{i}].fallback"
        if spec.fallback not in known:
            hint = unknown_key(spec.fallback, [name for name in known if name != spec.id]).removeprefix("unknown key; ")
            problems.add(path, f"there is no reporter with the id {spec.fallback!r}; {hint}")
        elif _returns(spec.id, following):
            problems.add(path, f"{spec.fallback} hands over to {spec.id} in its turn: somebody must be the last")


def _returns(start: str, following: dict[str, str | None]) -> bool:
    """Say whether following the fallbacks from here comes back here."""
    at = following[start]
    for _ in following:  # a way that is longer than there are reporters goes round without coming by here
        if at is None or at == start:
            break
        at = following.get(at)
    return at == start
