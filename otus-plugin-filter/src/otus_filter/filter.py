"""Processor ``filter``: keeps or drops by rules and expressions."""

from __future__ import annotations

from collections.abc import Iterator

from otus_core import BaseProcessor
from otus_filter.compiler import Predicate, Verdict, compile_verdicts
from otus_filter.config import FilterConfig
from otus_filter.grammar import Field, Membership, parse


class Filter(BaseProcessor):
    """One function is made of the whole configuration and *is* the method ``process``: a packet costs one call."""

    def __init__(self, config: FilterConfig) -> None:
        process: Predicate = compile_verdicts(_verdicts(config), default=config.keep_if is None)
        self.process = process  # type: ignore[method-assign, assignment]


def _verdicts(config: FilterConfig) -> Iterator[Verdict]:
    for rule in config.rules:
        yield Verdict(Membership("in", Field(rule.label, True, "text"), rule.values), rule.action == "keep")
    if config.drop_if is not None:
        yield Verdict(parse(config.drop_if), False)
    if config.keep_if is not None:
        yield Verdict(parse(config.keep_if), True)
