"""Runs a coroutine of somebody else's and tells how long each of its steps kept the thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_timed(
    call: Coroutine[Any, Any, T], limit: float | None, begins: Callable[[], None], spent: Callable[[int], None]
) -> T:
    """Run a coroutine for ``limit`` seconds at most; tell when each of its steps begins, and how long it kept the
    thread (ns).

    One that never waits needs no timer.
    """
    begins()
    begun = time.monotonic_ns()
    try:
        waits_for = call.send(None)
    except StopIteration as end:
        done: T = end.value
        return done
    finally:
        spent(time.monotonic_ns() - begun)
    async with asyncio.timeout(limit):
        return await _rest(call, waits_for, begins, spent)


@coroutine
def _rest(
    call: Coroutine[Any, Any, T], waits_for: Any, begins: Callable[[], None], spent: Callable[[int], None]
) -> Generator[Any, Any, T]:
    """Run a coroutine on that waits for something."""
    while True:
        try:
            yield waits_for
            step = call.send
            thrown: BaseException | None = None
        except BaseException as error:
            step, thrown = call.throw, error
        begins()
        begun = time.monotonic_ns()
        try:
            waits_for = step(thrown)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            spent(time.monotonic_ns() - begun)
