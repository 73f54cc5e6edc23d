"""Who gave the command that is being executed: a command channel says it, the daemon writes it to the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from otus_core.values import frozen


@frozen
class Caller:
    """What a channel knows of a caller, by name; ``routine`` tells that the channel itself asks, and nobody else."""

    about: dict[str, str | int]
    routine: bool = False


NOBODY = Caller({})
_caller: ContextVar[Caller] = ContextVar("otus_caller", default=NOBODY)
_channel: ContextVar[str] = ContextVar("otus_channel", default="")


@contextmanager
def calling(about: Mapping[str, str | int], *, routine: bool = False) -> Iterator[None]:
    """Say who gives the commands that the handler is called with in this block: ``{"principal": …}``, and whatever
    tells where the command came from.

    The daemon logs every command from a channel, with these fields. ``routine``: the channel asks of its own accord,
    for a heartbeat; that is logged at debug only.
    """
    before = _caller.set(Caller(dict(about), routine))
    try:
        yield
    finally:
        _caller.reset(before)


@contextmanager
def over(channel: str) -> Iterator[None]:
    """Say which command channel brings what is executed in this block."""
    before = _channel.set(channel)
    try:
        yield
    finally:
        _channel.reset(before)


def current_channel() -> str:
    """Give the name of the channel that brought the command."""
    return _channel.get()


def current_caller() -> Caller:
    """Give who called, as far as the channel said it."""
    return _caller.get()
