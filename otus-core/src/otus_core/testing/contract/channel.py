"""The contract of command channels."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from otus_core.components import BaseCommandChannel
from otus_core.plugins.component_hooks import CALLS, CALLS_MAX_S, hooks_of, seconds_of, strange_hooks
from otus_core.testing.contract.component import TRIES, Contract

START_MAX_S = 5.0
STOP_MAX_S = 5.0
END_MAX_S = 60.0
"""Here a try is given up."""
ANSWER_MAX_S = 60.0
RESULT = {"result": {"tasks": ["a"], "count": 1}}
ERROR = {"error": {"code": -32602, "message": "task_id: there is no task 'x'"}}


class Commands:
    """Stands where the daemon stands: takes commands, and answers what the test wants."""

    def __init__(self, answer: Mapping[str, Any], *, waits: bool = False) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.began = asyncio.Event()
        self._answer = answer
        self._waits = waits

    async def __call__(self, command: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Execute one command."""
        self.taken.append((command, dict(payload)))
        self.began.set()
        if self._waits:
            await asyncio.Event().wait()
        return self._answer


class CommandChannelContract(Contract):
    """What a command channel must do.

    ``send`` is the other end: it sends one command and gives the answer's ``result`` or ``error``.
    """

    kind = "command_channel"
    _late = ""

    async def send(self, command: str, payload: dict[str, Any]) -> Mapping[str, Any]:
        """Send a command over what the channel listens to, and wait for its answer: ``{"result": …}`` or ``{"error":
        …}``.
        """
        raise NotImplementedError

    @asynccontextmanager
    async def running(self, handler: Commands) -> AsyncIterator[BaseCommandChannel]:
        """Make, start and stop a channel, as the daemon does."""
        channel: BaseCommandChannel = self.make()
        self.check_status(channel)
        try:
            await self._soon("start()", channel.start(handler), START_MAX_S)
            self.check_status(channel)
            yield channel
        finally:
            await self._soon("stop()", channel.stop(), STOP_MAX_S)
        self.check_status(channel)

    async def _soon(self, what: str, step: Awaitable[None], within: float) -> None:
        begun = time.monotonic()
        async with asyncio.timeout(END_MAX_S):
            await step
        if time.monotonic() - begun > within:
            self._late = f"{what} took {time.monotonic() - begun:.1f} s; it has {within:.0f}"

    def _try(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something until nothing in it was late, a few times."""
        for _ in range(TRIES):
            self._late = ""
            asyncio.run(main())
            if not self._late:
                return
        raise AssertionError(self._late)

    def check_status(self, channel: BaseCommandChannel) -> Mapping[str, Any]:
        """See to it that ``status`` is something that ``daemon_status`` can show, at any time."""
        status = channel.status()
        assert isinstance(status, Mapping), f"status() gave {status!r}"
        json.dumps(dict(status))
        return status

    def test_a_command_is_executed_once_and_answered(self) -> None:
        """What was sent is what the daemon gets; its result and its error go back."""

        async def main() -> None:
            for answer in (RESULT, ERROR):
                handler = Commands(answer)
                async with self.running(handler):
                    async with asyncio.timeout(ANSWER_MAX_S):
                        told = await self.send("task_delete", {"task_id": "x"})
                assert handler.taken == [("task_delete", {"task_id": "x"})]
                assert {key: told[key] for key in answer} == answer

        self._try(main)

    def test_a_command_under_way_does_not_hold_up_the_end(self) -> None:
        """``stop`` is bounded, whatever is being executed."""

        async def main() -> None:
            handler = Commands(RESULT, waits=True)
            async with self.running(handler):
                sending = asyncio.create_task(self._send_one())
                async with asyncio.timeout(ANSWER_MAX_S):
                    await handler.began.wait()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

        self._try(main)

    def test_an_answer_goes_out_before_the_end(self) -> None:
        """``stop`` sends the answer that the daemon has just given: it may be the one to ``daemon_shutdown``."""

        async def main() -> None:
            handler = Commands(RESULT)
            async with self.running(handler):
                sending = asyncio.create_task(self.send("daemon_shutdown", {}))
                async with asyncio.timeout(ANSWER_MAX_S):
                    await handler.began.wait()
            async with asyncio.timeout(ANSWER_MAX_S):
                told = await sending
            assert {key: told[key] for key in RESULT} == RESULT

        self._try(main)

    def test_nothing_goes_on_after_the_end(self) -> None:
        """Every asyncio task that the channel made has ended with it."""

        async def main() -> None:
            async with self.running(Commands(RESULT)):
                pass
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"still there: {left}"

        self._try(main)

    def test_one_that_was_never_started_can_be_stopped(self) -> None:
        """``stop`` is called once, also after a start that failed."""

        async def main() -> None:
            await self._soon("stop()", self.make().stop(), STOP_MAX_S)

        self._try(main)

    async def _send_one(self) -> None:
        await self.send("task_list", {})

    def test_hooks_are_taken_quickly(self) -> None:
        """A channel that receives hooks takes a thousand of them without waiting, before its start and while it runs;
        they end nothing.
        """

        async def main() -> None:
            handler = Commands(RESULT)
            async with self.running(handler) as channel:
                hooks = hooks_of(channel)
                if hooks is None:
                    return
                if (took := seconds_of(hooks)) > CALLS_MAX_S:
                    self._late = f"{CALLS} hooks were to take {CALLS_MAX_S:g} s at most, and took {took:.1f} s or more"
                async with asyncio.timeout(ANSWER_MAX_S):
                    await self.send("task_list", {})
                assert ("task_list", {}) in handler.taken

        one = self.make()
        strange = list(strange_hooks(one))
        assert not strange, strange
        hooks = hooks_of(one)
        if hooks is not None:
            hooks.hook.otus_task_state_changed(task_id="t", old="created", new="starting", reason="")
        self._try(main)
