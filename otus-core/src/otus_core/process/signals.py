"""Signals that a process hears on its loop, and no longer hears at its very end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterable, Mapping

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a service manager, a terminal or an operator sends to a process that is to end or to look again."""


def hear(handlers: Mapping[signal.Signals, Callable[[], None]]) -> None:
    """Have each signal call its function on the running loop. Only the main thread can.

    Unlike ``loop.add_signal_handler`` this outlives the loop: asyncio gives a signal back its default effect when it
    closes, and a signal that comes then kills a process that has stopped well. ``ignore`` ends it, at one stroke.
    """
    loop = asyncio.get_running_loop()
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)

    def drain() -> None:
        reader.recv(4096)

    # It keeps the writer: the interpreter knows only its number, which another file would get.
    def handler(number: int, _frame: object, _kept: socket.socket = writer) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(handlers[signal.Signals(number)])

    loop.add_reader(reader, drain)
    # Without it a signal that comes just before the loop sleeps would be heard when something else wakes it.
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in handlers:
        signal.signal(number, handler)


def ignore(numbers: Iterable[signal.Signals] = ENDING) -> None:
    """Let signals have no effect, to the end of the process: there is no moment at which they have their default one.

    A program that the process starts later would inherit it (signal(7)).
    """
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
