"""Every error that Otus raises on purpose.

OtusError
├── ConfigInvalid            a configuration is refused; holds every problem with its path
├── PluginError
│   ├── PluginNotFound       no ready plugin offers the component; says what to install
│   └── PluginInitFailed     a component could not be built, wired or started
├── TaskError
│   ├── TaskNotFound
│   ├── TaskAlreadyExists
│   └── TaskStartFailed
├── CaptureError             a source is damaged or gone; says where
├── BpfInvalid               a capture filter is refused; says why, in libpcap's words
├── FlowContextRefused       a flow context is too large or of a wrong type
├── DaemonNotRunning
├── RequestRefused           the daemon refuses what it was asked for, in its own words
└── ParseError               the one error that a parser may raise: not part of the tree's
                             user-facing side, it costs one packet and is counted
BrokenPipeError
└── StdoutClosed             nobody reads standard output any more, which ends the run; a BrokenPipeError of
                             anything else is an error of the component that raises it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def closest(word: str, known: Iterable[str]) -> str | None:
    """Give the known word that was most likely meant, ``None`` where none is near."""
    import difflib  # rarely needed, and start-up is measured

    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


class OtusError(Exception):
    """Base of all errors; ``exit_status`` is what the CLI ends with when it reaches the user."""

    exit_status = 1


class ConfigProblem:
    """One thing that is wrong in a configuration: ``path`` (``reporters[0].config.topic``) and ``message``."""

    __slots__ = ("message", "path")

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message

    def __repr__(self) -> str:
        return f"ConfigProblem({self.path!r}, {self.message!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConfigProblem) and (self.path, self.message) == (other.path, other.message)

    def __hash__(self) -> int:
        return hash((self.path, self.message))


class ConfigInvalid(OtusError):
    """A configuration is refused. ``problems`` lists everything that is wrong, not the first thing only."""

    exit_status = 2

    def __init__(self, problems: Sequence[ConfigProblem] | str, source: str = "") -> None:
        if isinstance(problems, str):
            problems = [ConfigProblem("", problems)]
        self.problems = tuple(problems)
        self.source = source
        lines = [str(problem) for problem in self.problems]
        prefix = f"{source}: " if source else ""
        super().__init__("\n".join(prefix + line for line in lines))


class PluginError(OtusError):
    """A plugin cannot do what is asked of it."""


class PluginNotFound(PluginError):
    """No ready plugin offers the component that a task or command names."""

    exit_status = 2


class PluginInitFailed(PluginError):
    """A component could not be constructed, wired or started."""


class TaskError(OtusError):
    """An operation on a task failed."""


class TaskNotFound(TaskError):
    """No task has this id."""


class TaskAlreadyExists(TaskError):
    """A task with this id is there already."""


class TaskStartFailed(TaskError):
    """A task was accepted but could not be started."""


class CaptureError(OtusError):
    """A source is damaged or gone.

    ``source`` is a file name or interface, ``offset`` the byte offset of the damage where there is one. When ``fatal``
    is false the capturer goes on with the next source at the next ``read()``.
    """

    def __init__(self, source: str, reason: str, offset: int | None = None, *, fatal: bool = True) -> None:
        self.source = source
        self.reason = reason
        self.offset = offset
        self.fatal = fatal
        where = source if offset is None else f"{source}: at offset {offset}"
        super().__init__(f"{where}: {reason}")


class BpfInvalid(OtusError):
    """A capture filter cannot be compiled. ``expression`` is the filter, ``reason`` what libpcap says of it."""

    exit_status = 2

    def __init__(self, expression: str, reason: str) -> None:
        self.expression = expression
        self.reason = reason
        super().__init__(f"BPF filter {expression!r}: {reason}" if expression else reason)


class FlowContextRefused(OtusError):
    """A flow context is larger than 4 KiB or holds something else than str, int, bytes, bool, tuples and dicts."""


class DaemonNotRunning(OtusError):
    """Nothing answers on the control socket."""

    exit_status = 3


class RequestRefused(OtusError):
    """The daemon refuses what it was asked for. ``problems`` are those of a configuration, where that is the reason."""

    def __init__(self, message: str, problems: Sequence[ConfigProblem] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__(message)


class StdoutClosed(BrokenPipeError):
    """Nobody reads Otus's own standard output any more. Raised by ``LineWriter.write``, and by nothing else."""


class ParseError(Exception):
    """A parser cannot make sense of a packet that it said it can handle. ``reason`` is a short constant text."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
