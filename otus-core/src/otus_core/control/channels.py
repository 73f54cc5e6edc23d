"""The daemon's command channels: made and started in the background, tried again when that fails, and shown while they
are down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from otus_core.caller import over
from otus_core.chores import Chores, raise_cancellation
from otus_core.components import BaseCommandChannel, CommandHandler
from otus_core.errors import OtusError
from otus_core.log import Logger
from otus_core.model.accounts import Accounts
from otus_core.model.own_counters import counting, name_own_counters
from otus_core.model.text import printable
from otus_core.worker.status import check_status, plain_status, words

STOP_WITHIN_S = 5.0
"""systemd kills a service that stops for more than its TimeoutStopSec; a broker that is away must not cost that."""

log = Logger("otus.daemon")


class Channels:
    """One channel of each name.

    A file of keys that is not there yet, or a plugin that raises, costs nothing but the time until the next try.
    """

    def __init__(
        self,
        make: Callable[[str], BaseCommandChannel],
        handler: CommandHandler,
        release: Callable[[BaseCommandChannel], None] = lambda _channel: None,
    ) -> None:
        self._make = make
        self._handler = handler
        self._release = release
        self._chores = Chores()
        self._running: dict[str, BaseCommandChannel] = {}
        self._reasons: dict[str, str] = {}
        self._own: dict[str, Own] = {}

    def start(self, name: str) -> None:
        """Begin to make and start a channel."""
        self._reasons[name] = "not started yet"
        self._chores.start(
            f"channel:{name}", lambda: self._start(name), lambda reason: self._note_failure(name, reason)
        )

    async def stop(self) -> None:
        """Stop all, each within ``STOP_WITHIN_S``."""
        # Before those that run: a start that is under way would add one more.
        await self._chores.stop()
        running, self._running = self._running, {}
        for name, channel in running.items():
            await self._end(name, channel)

    def status(self) -> list[dict[str, Any]]:
        """Give each channel's own words; of one that does not run, why."""
        return [
            {"type": name, **self._describe(name), **self._own.get(name, Own()).describe()} for name in self._reasons
        ]

    def give_own(self, name: str, declaration: Any) -> dict[str, Any]:
        """Give the parts of a channel's context that lead here: it counts on where an earlier one of its name ended."""
        own = self._own.setdefault(name, Own(name_own_counters(declaration.kind, name, declaration)))
        own.says = ("ok", "")
        return {"counter": counting(own.accounts, declaration.kind, name, declaration), "status": own.tell}

    def read_counters(self) -> dict[str, dict[str, int]]:
        """Give what each channel itself counts."""
        return {name: own.read_counters() for name, own in self._own.items()}

    def read_statuses(self) -> dict[str, str]:
        """Give how each channel that was made says it is."""
        return {name: own.says[0] for name, own in self._own.items()}

    def up(self) -> dict[str, bool]:
        """Say of each channel whether it can take commands now; one that runs and says nothing of that can."""
        return {row["type"]: bool(row.get("connected", True)) for row in self.status()}

    def namesakes(self) -> dict[str, int]:
        """Say of each channel of how many other processes with this node's name it has heard lately."""
        found = {row["type"]: row.get("namesakes") for row in self.status()}
        return {name: len(rows) for name, rows in found.items() if isinstance(rows, Mapping)}

    def _describe(self, name: str) -> dict[str, Any]:
        channel = self._running.get(name)
        if channel is None:
            return {"connected": False, "last_error": self._reasons[name]}
        try:
            return {**_plain(channel.status()), "type": name}
        except BaseException as error:  # a plugin's fault must not cost the whole status, nor the daemon
            return {"connected": False, "last_error": f"status: {type(error).__name__}"}

    async def _start(self, name: str) -> None:
        try:
            channel = self._make(name)
        except SystemExit as error:
            raise OtusError(f"the plugin wanted to exit with {error.code!r}") from None
        try:
            await channel.start(partial(self._command, name))
        except BaseException as error:
            await self._end(name, channel)  # what it had begun must not stay behind
            if isinstance(error, SystemExit):
                raise OtusError(f"the plugin wanted to exit with {error.code!r}") from None
            raise
        self._running[name] = channel

    async def _command(self, name: str, command: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        with over(name):
            return await self._handler(command, payload)

    async def _end(self, name: str, channel: BaseCommandChannel) -> None:
        self._release(channel)
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await channel.stop()
        except TimeoutError:
            log.warning("stop_took_too_long", what=f"command channel {name}", seconds=STOP_WITHIN_S)
        except BaseException as error:
            raise_cancellation(error)
            log.error("stop_failed", what=f"command channel {name}", error=type(error).__name__)

    def _note_failure(self, name: str, reason: str) -> None:
        self._reasons[name] = printable(reason, 300)
        log.error("command_channel_failed", channel=name, error=self._reasons[name])


class Own:
    """What one channel counts, and what it says of itself."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = dict(names or {})
        self.accounts = Accounts(self._names.values())
        self.says = ("ok", "")

    def tell(self, status: str, why: str = "") -> None:
        """Take what ``context.status`` is given. Raises ValueError."""
        # From a closed set, because it becomes the label value of a metric.
        said = (check_status("command channel", status), words(why))
        if said[0] != self.says[0]:
            (log.info if status == "ok" else log.warning)("component_status", status=said[0], reason=said[1])
        self.says = said

    def read_counters(self) -> dict[str, int]:
        """Give its counters by the names that it declares."""
        return {name: self.accounts[counter] for name, counter in self._names.items()}

    def describe(self) -> dict[str, Any]:
        """Give what there is to show beside the channel's own words."""
        status, why = self.says
        counted = {"counted": self.read_counters()} if self._names else {}
        return counted | ({"component": {"status": status, "reason": why}} if status != "ok" else {})


def _plain(told: Any) -> dict[str, Any]:
    """Make a channel's words plain values of bounded size: its counters may stand in a mapping of their own."""
    given = dict(told)
    inner = {str(key): plain_status(value) for key, value in given.items() if isinstance(value, Mapping)}
    return {**plain_status({key: value for key, value in given.items() if str(key) not in inner}), **inner}
