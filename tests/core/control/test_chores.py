"""Long-lived asyncio tasks: what ends them, and what does not."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from otus_core import BaseCommandChannel, Chores
from otus_core import chores as module
from otus_core.control.channels import Channels


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES_S", (0.0, 0.0))


async def stray() -> None:
    """Await a task that somebody else has cancelled, as aiokafka's ``stop()`` does."""
    task = asyncio.ensure_future(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(task.cancel)
    await task


async def broken() -> None:
    raise ValueError("no good")


@pytest.mark.parametrize(
    ("fault", "reason"), [(stray, "CancelledError, which nobody asked for"), (broken, "ValueError: no good")]
)
def test_a_chore_that_fails_is_begun_again_and_counted(fault: Callable[[], Any], reason: str) -> None:
    async def main() -> None:
        chores, tries, reasons = Chores(), [0], list[str]()
        again = asyncio.Event()

        async def work() -> None:
            tries[0] += 1
            if tries[0] < 4:
                await fault()
            again.set()
            await asyncio.Event().wait()

        before = module.failures().get("test:work", 0)
        chores.start("test:work", work, reasons.append)
        async with asyncio.timeout(30):
            await again.wait()
            await chores.stop()
        assert (tries, reasons) == ([4], [reason] * 3)
        assert module.failures()["test:work"] - before == 3
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_what_nobody_else_sees_on_a_loop_is_counted() -> None:
    async def lost() -> None:
        raise ValueError("nobody asks for it")

    async def main() -> None:
        before = module.failures().get("test:callback", 0)
        module.watch_loop("test:callback")
        asyncio.get_running_loop().call_soon(lambda: [].pop())
        task = asyncio.get_running_loop().create_task(lost())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        gc.collect()
        assert module.failures()["test:callback"] - before == 2

    asyncio.run(main())


def test_names_of_chores_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_MAX", len(module.failures()) + 1)
    for n in range(5):
        module.count_failures(f"test:{n}")
    assert [name for name in module.failures() if name in ("other", "test:0", "test:1")] == ["test:0", "other"]
    assert module.failures()["other"] == 4


def test_a_thread_that_fails_is_begun_again() -> None:
    tries = [0]

    def work() -> None:
        tries[0] += 1
        if tries[0] < 3:
            raise ValueError("no good")

    before = module.failures().get("test:thread", 0)
    module.keep_thread("test:thread", work)
    assert (tries, module.failures()["test:thread"] - before) == ([3], 2)


def test_a_chore_that_swallows_its_cancellation_once_is_stopped_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_TRY_S", 0.01)

    async def main() -> None:
        async def work() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()

        chores = Chores()
        chores.start("test:stubborn", work)
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await chores.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_channel_that_cannot_be_made_yet_is_tried_again_and_shown_down() -> None:
    class Channel(BaseCommandChannel):
        async def start(self, handler: Any) -> None:
            made.set()

        def status(self) -> dict[str, Any]:
            return {"connected": made.is_set()}

    made, tries = asyncio.Event(), [0]

    def make(_name: str) -> BaseCommandChannel:
        tries[0] += 1
        if tries[0] == 1:
            assert channels.up() == {"x": False}
            raise OSError("no such file: keys")
        if tries[0] == 2:
            assert channels.status() == [{"type": "x", "connected": False, "last_error": "OSError: no such file: keys"}]
            raise SystemExit(3)
        return Channel()

    async def main() -> None:
        channels.start("x")
        async with asyncio.timeout(30):
            await made.wait()
        await asyncio.sleep(0)
        assert channels.up() == {"x": True}
        await channels.stop()

    async def nobody(_command: str, _payload: Any) -> dict[str, Any]:
        raise AssertionError

    channels = Channels(make, nobody)
    asyncio.run(main())
    assert tries == [3]
