"""Puts faults into a copy of the source and looks whether the tests notice: ``nox -s mutants --
[python|generated|cython|sample] [WORD ...]``.

Each fault is one small change of a guard, a bound, an order, a counter or a state; a test that concerns it has to fail.
Faults in Python are listed in ``python.toml``, or are made by Cosmic Ray in the modules that ``generated.toml`` names;
those in compiled modules are listed in ``cython.toml``. ``sample`` are ten that CI tries each time, always the same.
``WORD`` chooses faults whose names hold it. Exit status 1 where a fault goes unnoticed that is not listed as
equivalent, where less than nine in ten are noticed, or where a list no longer fits the source.
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from tests.mutants.edits import LISTS, Edit, Stale, check, read_edits
from tests.mutants.tree import Ran, Tree

KILLED_AT_LEAST = 0.9
WITHIN_S = 120.0
"""The time that the tests of one fault have; one that makes them hang is noticed too."""
TESTS_FAILED, INTERRUPTED = 1, 2


@attrs.frozen
class Judged:
    """What became of one fault: ``killed``, ``survived``, ``equivalent`` or ``stale``."""

    edit: Edit
    verdict: str
    told: str = ""
    seconds: float = 0.0


def judge(edit: Edit, tree: Tree) -> Judged:
    """Put one fault in and run its tests."""
    try:
        text = edit.apply((tree.folder / edit.file).read_text())
        with tree.holding(edit.file, text, edit.modules):
            ran = tree.run(edit.tests, WITHIN_S)
    except Stale as error:
        return Judged(edit, "stale", str(error))
    return Judged(edit, *_verdict(edit, ran), ran.seconds)


def _verdict(edit: Edit, ran: Ran) -> tuple[str, str]:
    escaped = ran.status == INTERRUPTED and "!!! KeyboardInterrupt !!!" in ran.told  # out of the code under test
    if ran.status is None or ran.status < 0 or ran.status == TESTS_FAILED or escaped:
        return ("stale", f"is listed as equivalent, but killed:\n{ran.told}") if edit.equivalent else ("killed", "")
    if ran.status != 0:  # a module that cannot be imported, or a test that is not there
        return "stale", f"pytest ended with {ran.status}:\n{ran.told}"
    return ("equivalent", edit.equivalent) if edit.equivalent else ("survived", "")


def judge_all(edits: Sequence[Edit], jobs: int) -> list[Judged]:
    """Try all faults, each copy of the tree one at a time. Raises Stale where the tests fail without any fault."""
    with tempfile.TemporaryDirectory(prefix="otus-mutants-") as scratch:
        trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        made = [Tree(Path(scratch) / str(number)) for number in range(max(1, min(jobs, len(edits))))]
        tests = sorted({test for edit in edits for test in edit.tests})
        ran = made[0].run(tests, WITHIN_S * 5)
        if ran.status != 0:
            raise Stale(f"the tests fail without a fault, so they show nothing:\n{ran.told}")
        for tree in made:
            trees.put(tree)

        def work(edit: Edit) -> Judged:
            tree = trees.get()
            try:
                found = judge(edit, tree)
            finally:
                trees.put(tree)
            print(f"{found.verdict:<10} {edit.part:<7} {edit.name} ({found.seconds:.1f} s)", flush=True)
            return found

        with ThreadPoolExecutor(len(made)) as pool:
            return list(pool.map(work, edits))


def report(found: Sequence[Judged]) -> bool:
    """Write what was found; says whether all is as it should be."""
    good = True
    for part in dict.fromkeys(one.edit.part for one in found):
        here = [one for one in found if one.edit.part == part]
        killed = sum(one.verdict == "killed" for one in here)
        print(f"{part}: {killed} of {len(here)} killed, {killed / len(here):.0%}")
        good = good and killed >= KILLED_AT_LEAST * len(here)
    for one in found:
        if one.verdict != "killed":
            print(f"  {one.verdict} {one.edit.name}: {one.edit.file}: {one.told}")
            good = good and one.verdict == "equivalent"
    return good


def main(arguments: Sequence[str]) -> int:
    """Run; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("which", nargs="?", default="all", choices=("all", "generated", *LISTS, "sample"))
    parser.add_argument("words", nargs="*", help="only faults whose names hold one of these")
    parser.add_argument("--jobs", type=int, default=2, help="copies of the tree that work at a time")
    chosen = parser.parse_args(arguments)
    try:
        edits = [edit for edit in _read(chosen.which) if _is_chosen(edit, chosen.which, chosen.words)]
        begun = time.monotonic()
        good = report(judge_all(edits, chosen.jobs)) if edits else False
        print(f"{len(edits)} faults in {time.monotonic() - begun:.0f} s")
    except Stale as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if good else 1


def _read(which: str) -> list[Edit]:
    """Read the lists, each of whose entries has to fit the source. Raises Stale."""
    edits = [edit for part in LISTS for edit in read_edits(part)]
    for edit in edits:
        check(edit)
    if which in ("all", "generated"):
        from tests.mutants.generated import read_generated  # needs Cosmic Ray, which only this session has

        edits += read_generated()
    return edits


def _is_chosen(edit: Edit, which: str, words: Sequence[str]) -> bool:
    listed = which in ("all", edit.part) or (which == "sample" and edit.sample)
    return listed and (not words or any(word in edit.name for word in words))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
