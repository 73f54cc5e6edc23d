"""The rules about a component's life: it is made by its factory, has the methods of its kind, starts and ends, receives
hooks, and opens what needs privilege.

Options without default get made-up values: what a component says to these is a warning at most. What its class shows
needs no values at all.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
from collections.abc import Iterator
from typing import Any

from otus_core.components import BaseCapturer, BaseParser, BaseProcessor
from otus_core.config.converter import structure
from otus_core.config.sample import example_of
from otus_core.config.shape import fields_of
from otus_core.context import Context
from otus_core.declarations import Capturer, CommandChannel, Declaration, Parser
from otus_core.errors import CaptureError, ConfigInvalid
from otus_core.model.flows import FlowRegistry
from otus_core.model.own_counters import counting_alone
from otus_core.model.text import tell
from otus_core.plugins.component_hooks import CALLS, CALLS_MAX_S, COMPONENT_HOOKS, hooks_of, seconds_of, strange_hooks

METHODS = {
    "capturer": ("open", "read", "fileno", "stats", "close"),
    "parser": ("wire", "start", "stop", "can_handle", "handle"),
    "processor": ("wire", "start", "stop", "process"),
    "reporter": ("wire", "start", "stop", "report", "flush"),
    "command_channel": ("start", "stop", "status"),
}
ASYNCHRONOUS = {"reporter": ("start", "stop", "report", "flush"), "command_channel": ("start", "stop")}
ARGUMENTS = {
    "take": 1,
    "can_handle": 1,
    "handle": 1,
    "process": 1,
    "report": 1,
    "wire": 1,
    "read": 0,
    "flush": 0,
    "stop": 0,
}
HEARERS = ("reporter", "command_channel")
"""Kinds of components that receive hooks."""
TIMELY = {"tick": 1, "finish": 1, "on_route": 2, "before_finish": 1}
"""Methods of parsers and processors that speak over time, with what they take."""
TICK_LEAST_S, TICK_MOST_S = 0.1, 86400.0
"""As the pipeline has it, which is compiled and not loaded here."""
ACQUIRE_ARGUMENTS = 4
"""``config``, ``shard``, ``shards``, ``state``."""


class Warned(str):
    """A complaint that is not a breach."""

    __slots__ = ()


Complaints = Iterator[str]


class _Nowhere:
    """Takes the lines of reporters that are made to be looked at."""

    isatty = False
    columns = 0

    async def write(self, lines: bytes) -> None:
        """Forget them."""


def lives(declared: Declaration) -> Complaints:
    """Make the component and take it through its life, as far as that opens no source and connects nowhere."""
    component, wrong = _make(declared)
    yield from wrong
    if component is None:
        return
    breaches = [*_shape(declared.kind, component), *_abilities(declared, component)]
    yield from breaches
    if breaches:
        return
    try:
        yield from _live(declared, component)
    except Exception as error:
        if not _needs_values(declared):
            raise
        yield Warned(f"with made-up values for options without default it raises {tell(error, 200)}")


def _live(declared: Declaration, component: Any) -> Complaints:
    stdout = _Nowhere() if declared.kind == "reporter" else None
    flows = FlowRegistry() if isinstance(declared, Parser) and declared.wants_flows else None
    name, counter = declared.name, counting_alone(declared.kind, declared.name, declared)
    component.wire(
        Context(task_id="check", agent_id="check", component_id=name, stdout=stdout, flows=flows, counter=counter)
    )
    if declared.kind in ("parser", "processor"):  # others would open a source, or connect
        component.start()
        component.stop()
    elif isinstance(declared, CommandChannel):
        json.dumps(dict(component.status()))  # daemon_status shows it, also of a channel that has not started
        if not list(strange_hooks(component)):
            yield from _slow_hooks(component)


def _slow_hooks(component: Any) -> Complaints:
    """The suite alone calls a reporter's hooks: it starts it."""
    hooks = hooks_of(component)
    if hooks is not None and seconds_of(hooks) > CALLS_MAX_S:
        yield f"its hooks are slow: {CALLS} calls take more than {CALLS_MAX_S:g} s; put what is to be sent into a queue"


def hears(declared: Declaration) -> Complaints:
    """Look at the hooks that a component receives itself; its class shows them, whatever its options need."""
    component = _bare(declared)
    if component is None:
        component, _ = _make(declared)
    if component is None:
        return
    if declared.kind not in HEARERS:
        names = [name for name in COMPONENT_HOOKS if hasattr(type(component), name)]
        yield from (f"{type(component).__name__}.{name}: a {declared.kind} receives no hooks" for name in names)
        return
    strange = list(strange_hooks(component))
    yield from strange
    if not strange:
        hooks_of(component)


def acquires(declared: Capturer) -> Complaints:
    """Look at ``acquire``, which opens what needs privilege before there is a component."""
    factory = declared.load_factory()
    acquire = getattr(factory, "acquire", None)
    own = acquire is not None and getattr(acquire, "__func__", acquire) is not BaseCapturer.acquire.__func__  # type: ignore[attr-defined]
    if declared.privileged and not own:
        yield "it is declared privileged and has no method acquire of its own"
    if not own or acquire is None:
        return
    if inspect.iscoroutinefunction(acquire):
        yield "its method acquire must not be async"
    elif not _takes(acquire, ACQUIRE_ARGUMENTS):
        yield "its method acquire must be a classmethod that takes config, shard, shards and state"
    else:
        yield from _acquire(declared, acquire)


def _acquire(declared: Capturer, acquire: Any) -> Complaints:
    settings = _settings(declared)
    if settings is None:
        yield Warned("no values could be made up for its options, and so acquire was not called")
        return
    try:
        given = acquire(settings, 0, 1, {})
    except (CaptureError, OSError) as error:
        if not str(error).strip():
            yield f"its method acquire raises {type(error).__name__} without a word"
        return
    if not isinstance(given, (list, tuple)) or not all(type(one) is int for one in given):
        yield f"its method acquire gave {given!r:.80}, not a list of descriptors"
        return
    for descriptor in given:
        if descriptor < 0 and not declared.privileged:  # it stays in this process: a place for what is opened later
            continue
        try:
            os.fstat(descriptor)
        except OSError:
            yield f"its method acquire gave {descriptor}, which is no open descriptor"
        else:
            os.close(descriptor)
    if declared.privileged and not given:
        yield "it is declared privileged, and its method acquire opened nothing"


def _make(declared: Declaration) -> tuple[Any, list[str]]:
    """Make the component, with made-up values where it needs some; ``None`` and why where that fails."""
    factory = declared.load_factory()
    settings = _settings(declared)
    if settings is None:
        return None, [Warned("no values could be made up for its options without default, and so it was not made")]
    try:
        return factory(settings), []
    except Exception as error:
        if not _needs_values(declared):
            raise
        return None, [Warned(f"it was not made: with made-up values for its options it raises {tell(error, 200)}")]


def _bare(declared: Declaration) -> Any:
    """Give an object of the component's class that was never initialised, ``None`` where the factory is no class."""
    factory: Any = declared.load_factory()
    with contextlib.suppress(Exception):
        return factory.__new__(factory) if inspect.isclass(factory) else None
    return None


def _needs_values(declared: Declaration) -> bool:
    return any(field.required for field in fields_of(declared.load_config()))


def _settings(declared: Declaration) -> Any:
    """Give settings: the defaults where they will do, else with examples and placeholders; ``None`` when there are
    none.
    """
    cls = declared.load_config()
    for data in ({}, example_of(cls)):
        with contextlib.suppress(ConfigInvalid):
            return structure(cls, data)
    return None


def _shape(kind: str, component: Any) -> Complaints:
    names = METHODS[kind]
    if getattr(type(component), "take", BaseParser.take) is not BaseParser.take:
        names = (*(name for name in names if not name.endswith("handle")), "take")
    for name in names:
        method = getattr(component, name, None)
        if not callable(method):
            yield f"it has no method {name}"
            continue
        if inspect.iscoroutinefunction(method) is not (name in ASYNCHRONOUS.get(kind, ())):
            yield f"its method {name} must {'' if name in ASYNCHRONOUS.get(kind, ()) else 'not '}be async"
        if name in ARGUMENTS and not _takes(method, ARGUMENTS[name]):
            yield (
                f"its method {name} must take {ARGUMENTS[name]} argument{'' if ARGUMENTS[name] == 1 else 's'} "
                "beside self"
            )


def _abilities(declared: Declaration, component: Any) -> Complaints:
    """Look at what a parser or processor needs for what it declares, and declares for what it has."""
    wanted = {"frame": 2, "resync": 2} if getattr(declared, "streams", ()) else {}
    for name, count in wanted.items():
        if not callable(getattr(component, name, None)) or not _takes(getattr(component, name), count):
            yield f"it declares streams, and has no method {name} that takes data and a place"
    if declared.kind not in ("parser", "processor"):
        return
    own = {name for name in TIMELY if _has_own(component, name)}
    if getattr(declared, "routes", False) and "on_route" not in own:
        yield "it declares routes, and has no method on_route"
    if "on_route" in own and not getattr(declared, "routes", False):
        yield "it has a method on_route, and does not declare routes: it would never be called"
    if "before_finish" in own and not (declared.kind == "processor" and getattr(declared, "routes", False)):
        yield "it has a method before_finish, and is no processor that declares routes: it would never be called"
    for name in sorted(own):
        if not _takes(getattr(component, name), TIMELY[name]):
            yield f"its method {name} must take {TIMELY[name]} argument{'' if TIMELY[name] == 1 else 's'} beside self"
    interval: Any = getattr(component, "tick_interval", None)
    if "tick" in own and not (type(interval) in (int, float) and TICK_LEAST_S <= interval <= TICK_MOST_S):
        yield f"it has a tick, and tick_interval is {interval!r}: use {TICK_LEAST_S:g} to {TICK_MOST_S:g} seconds"


def _has_own(component: Any, name: str) -> bool:
    given = getattr(type(component), name, None)
    return given is not None and all(given is not getattr(base, name, None) for base in (BaseParser, BaseProcessor))


def _takes(method: Any, count: int) -> bool:
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a compiled method that does not tell
        return True
    return True
