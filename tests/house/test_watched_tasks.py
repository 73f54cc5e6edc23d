"""No long-lived asyncio task is without somebody who notices when it fails: ``otus_core.Chores`` is the one way, and
the few other places say why they need none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import ROOT

MAKERS = {"create_task", "ensure_future", "TaskGroup", "run_coroutine_threadsafe"}
ALLOWED = {
    "otus_core/chores.py": {"Chores.start": "the watched tasks themselves"},
    "otus_core/control/server.py": {
        "ControlServer._accept": "one caller; what nobody expects is counted, and costs it alone"
    },
    "otus_core/daemon.py": {"Daemon._hang_up": "one reload, whose errors are caught, logged and counted"},
    "otus_core/supervise/manager.py": {"TaskManager._to_its_end": "one command; whoever asked for it gets its error"},
    "otus_core/supervise/keeping.py": {"TaskKeeping._wait_for_end": "two waits, awaited and cancelled together"},
    "otus_core/worker/course.py": {"unless": "one step and a wait, awaited and cancelled together"},
    "otus_core/pipeline/delivery.py": {
        "Delivery.drain": "waited for, up to a deadline, behind which everything left is counted",
        "Delivery._next_batch": "one batch, whose errors are caught, logged, counted, and cost that batch",
    },
    "otus_core/cli/foreground.py": {"_run_workers": "two waits, awaited and cancelled together"},
    "otus_core/cli/progress.py": {"Progress.__enter__": "a line on a terminal, for as long as a command runs"},
    "otus_core/testing/contract/channel.py": {"*": "a test"},
    "otus_core/testing/contract/reporter.py": {"*": "a test"},
}
"""By file and function: the reason why nobody has to begin it again."""
LOOKED_AFTER_ELSEWHERE = "otus-plugin-kafka"
"""Its tasks for records and partitions have an owner each in its reporter, with tests of their own."""


def made_in(source: str) -> Iterator[tuple[str, int]]:
    """Give each place that makes a task: the function that it is in, and the line."""

    def walk(node: ast.AST, name: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            below = name
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                below = f"{name}.{child.name}".lstrip(".")
            if isinstance(child, ast.Call):
                called = child.func
                word = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                if word in MAKERS:
                    yield name, child.lineno
            yield from walk(child, below)

    yield from walk(ast.parse(source), "")


def unwatched(name: str, source: str) -> list[str]:
    """Give the places of a file that make a task without leave."""
    allowed = ALLOWED.get(name, {})
    return [
        f"{name}:{line} ({function}): use otus_core.Chores, or say in this test why it needs nobody"
        for function, line in made_in(source)
        if function not in allowed and "*" not in allowed
    ]


def sources() -> list[tuple[str, Path]]:
    folders = [folder for folder in ROOT.glob("otus-*/src") if folder.parent.name != LOOKED_AFTER_ELSEWHERE]
    return [(str(path.relative_to(folder)), path) for folder in folders for path in sorted(folder.rglob("*.py"))]


def test_every_task_is_watched_or_says_why_not() -> None:
    assert [line for name, path in sources() for line in unwatched(name, path.read_text())] == []


def test_no_leave_outlives_its_place() -> None:
    texts = {name: path.read_text() for name, path in sources()}
    kept = {(name, function) for name, functions in ALLOWED.items() for function in functions if function != "*"}
    assert kept == {
        (name, function) for name in ALLOWED for function, _ in made_in(texts[name]) if (name, function) in kept
    }


@pytest.mark.parametrize(
    "planted",
    [
        "import asyncio\nasync def f():\n    asyncio.create_task(g())",
        "from asyncio import ensure_future\nclass C:\n    def f(self):\n        self.task = ensure_future(self.g())",
        "async def f():\n    async with asyncio.TaskGroup() as group:\n        pass",
        "def f(loop):\n    return [loop.create_task(one()) for one in many]",
    ],
)
def test_a_planted_task_is_found(planted: str) -> None:
    assert unwatched("otus_core/new.py", planted) != []
