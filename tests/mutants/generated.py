"""Faults that Cosmic Ray makes: its operators change comparisons, numbers, conditions and loops in the functions of the
modules that ``generated.toml`` names.

Of each module as many are tried as the list says, chosen by a digest of what they change: the choice stays the same
while a module's lines do.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tests.mutants.edits import ROOT, Edit, Stale

OPERATORS = (
    "AddNot",
    "ExceptionReplacer",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_Mod_Mul",
    "ReplaceBinaryOperator_Mul_Add",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBreakWithContinue",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ZeroIterationForLoop",
)
"""Those that turn a guard, a bound, an order or a count into its neighbour; others mostly make code that cannot run at
all.
"""

UNCOUNTED = re.compile(r"^\s*((async )?def |log\.|@)|timeout=|sleep\(|printable\(|indent=|mode=")
"""Lines of annotations and defaults, of log events, of pauses, and of how much of a text is shown: there a neighbouring
value is as good.
"""


@attrs.frozen
class Target:
    """A module, the tests that concern it, and how many faults of it are tried."""

    file: str
    tests: tuple[str, ...]
    count: int


def read_generated() -> list[Edit]:
    """Make the faults of every target. Raises Stale where one listed as equivalent is no longer made."""
    listed = tomllib.loads((Path(__file__).parent / "generated.toml").read_text())
    reasons: dict[str, str] = dict(listed.get("equivalent", {}))
    edits = []
    for file, entry in listed["target"].items():
        edits += list(_of_module(Target(file, tuple(entry["tests"]), entry["count"]), reasons))
    if reasons:
        raise Stale(f"generated.toml: nothing makes these any more: {', '.join(reasons)}")
    return edits


def _of_module(target: Target, reasons: dict[str, str]) -> Iterator[Edit]:
    text = (ROOT / target.file).read_text()
    chosen = sorted(_candidates(target.file, text))[: target.count]
    for digest, operator, occurrence, line in chosen:
        name = f"{target.file.rpartition('/')[2]}:{line}:{operator}:{digest[:8]}"
        mutated = mutate_code(text, get_operator(f"core/{operator}")(), occurrence)
        reason = reasons.pop(digest[:8], "")
        yield Edit(
            name=name,
            part="generated",
            file=target.file,
            old=text,
            new=mutated,
            tests=target.tests,
            equivalent=reason,
        )


def _candidates(file: str, text: str) -> Iterator[tuple[str, str, int, int]]:
    """Give each change inside a function: digest, operator, which one of the operator's, line."""
    lines = text.splitlines()
    seen: Counter[tuple[str, str]] = Counter()
    tree = get_ast(text)
    for operator in OPERATORS:
        places = (
            (node, place)
            for node in ast_nodes(tree)
            for place in get_operator(f"core/{operator}")().mutation_positions(node)
        )
        for occurrence, (node, ((number, _), _)) in enumerate(places):
            line = lines[number - 1]
            if not _is_in_function(node) or _is_beside_the_point(line):
                continue
            seen[operator, line.strip()] += 1
            same = (file, operator, line.strip(), str(seen[operator, line.strip()]))
            yield hashlib.sha256("\0".join(same).encode()).hexdigest(), operator, occurrence, number


def _is_in_function(node: object) -> bool:
    while node is not None:
        if getattr(node, "type", "") == "funcdef":
            return True
        node = getattr(node, "parent", None)
    return False


def _is_beside_the_point(line: str) -> bool:
    """Whether nobody counts on a line's exact values."""
    return bool(UNCOUNTED.search(line))
