"""A task's configuration: what a task file, ``task_create`` and the arguments of ``otus run`` come to.

In: plain data and the registry of plugins. Out: a ``TaskConfig`` whose components are resolved and whose settings are
valid, or ConfigInvalid with everything that is wrong, each with its path. Nothing is built and nothing heavy is
imported: wiring is checked from declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from otus_core.config.converter import build
from otus_core.config.problems import BAD, SHOWN_MAX, Problems, join, tell, unknown_key
from otus_core.declarations import Declaration
from otus_core.errors import ConfigInvalid, PluginNotFound
from otus_core.log import Logger
from otus_core.model.text import printable
from otus_core.model.text import tell as told_of
from otus_core.plugins.registry import Registered, Registry
from otus_core.task.inherit import TaskDefaults, with_defaults
from otus_core.task.options import (
    CaptureOptions,
    ParserOptions,
    ProcessorOptions,
    ReporterOptions,
    TaskOptions,
)
from otus_core.task.sharing import one_worker_because
from otus_core.task.spec import ComponentSpec, ProcessorSpec, ReporterSpec, TaskConfig
from otus_core.task.wiring import check_labels, check_wiring

log = Logger("otus.task")

WRAPPERS = ("config", "task")
"""Keys that a task may stand below, the outer one first."""
CAPTURE_KEYS = ("type", "name", "id", "on_failure")
"""Keys of ``capture`` that are not the capturer's own."""
FANOUT = "fanout_size"
"""The plan's name for ``workers``, inside ``capture``."""


def read_task_file(path: str | Path) -> dict[str, Any]:
    """Read a task file (YAML or JSON, ``-`` for standard input) and give the task in it, not yet validated.

    Raises ConfigInvalid.
    """
    from otus_core.config.load import load_file  # brings YAML, which a run without a task file does not need

    return unwrap(load_file(path), "standard input" if str(path) == "-" else str(path))


def unwrap(data: Any, source: str = "") -> dict[str, Any]:
    """Give the task object, which may stand below ``config:``, below ``task:``, or below both, and beside ``command:
    task_create``. Raises ConfigInvalid.

    What it gives is wrapped no further: whoever unwraps it again, after somebody else has checked it, sees the same
    task.
    """
    problems = Problems()
    for wrapper in WRAPPERS:
        if not isinstance(data, Mapping) or wrapper not in data:
            continue
        for key, value in data.items():
            if key == "command" and value != "task_create":
                problems.add("command", f"expected task_create, got {tell(value)}")
            elif key not in (wrapper, "command"):
                problems.add(printable(str(key), SHOWN_MAX), unknown_key(key, (wrapper, "command")))
        data = data[wrapper]
    if not isinstance(data, Mapping):
        problems.add("", f"expected a task, which is a mapping, got {tell(data)}")
    else:
        for wrapper in WRAPPERS:
            if wrapper in data:
                problems.add(wrapper, "expected a task, got one that is wrapped more than once")
    if problems.found:
        raise ConfigInvalid(problems.found, source)
    return dict(data)


def load_task(
    data: Mapping[str, Any], registry: Registry, defaults: TaskDefaults | None = None, source: str = ""
) -> TaskConfig:
    """Validate a task, all of it at once. Raises ConfigInvalid, which names ``source`` before each problem."""
    merged = with_defaults(unwrap(data, source), defaults or TaskDefaults())
    problems = Problems()
    config = _load(merged, registry, problems)
    if config is None or problems.found:
        raise ConfigInvalid(problems.found, source)
    return config


def _load(data: dict[str, Any], registry: Registry, problems: Problems) -> TaskConfig | None:
    """Look into every part, also when another one is wrong."""
    plain, fanout = _without_fanout(data, problems)
    options = build(TaskOptions, plain, "", problems)
    loader = _Components(registry, problems)
    capture = loader.capture(plain.get("capture"))
    parsers = loader.each("parsers", plain.get("parsers"), ParserOptions, ComponentSpec) or loader.every_parser(plain)
    processors = loader.each("processors", plain.get("processors"), ProcessorOptions, ProcessorSpec)
    reporters = loader.each("reporters", plain.get("reporters"), ReporterOptions, ReporterSpec)
    check_wiring(problems, capture, parsers, processors, reporters, plain, fanout)
    check_labels(problems, parsers, processors)
    if options is BAD or capture is None:
        return None
    # Worked out last: it takes all components, whichever of them is wrong.
    one_worker = one_worker_because(capture, parsers, processors) if options.workers > 1 else ""
    return TaskConfig(
        id=options.id,
        workers=1 if one_worker else options.workers,
        workers_wanted=options.workers,
        one_worker=one_worker,
        capture=capture,
        decoder=options.decoder,
        streams=options.streams,
        parsers=tuple(parsers),
        processors=tuple(processors),
        reporters=tuple(reporters),
        unmatched_policy=options.unmatched_policy,
        max_flows=options.max_flows,
        cpu_affinity=options.cpu_affinity,
        worker_max_rss=options.worker_max_rss,
        source=data,
    )


def _without_fanout(data: dict[str, Any], problems: Problems) -> tuple[dict[str, Any], bool]:
    """Turn ``capture.fanout_size`` into ``workers``; says whether it was there."""
    capture = data.get("capture")
    if not isinstance(capture, Mapping) or FANOUT not in capture:
        return data, False
    workers = capture[FANOUT]
    if data.get("workers", workers) != workers:
        problems.add(f"capture.{FANOUT}", "is another name for workers, which says otherwise: give one of them")
    rest = {key: value for key, value in capture.items() if key != FANOUT}
    return {**data, "capture": rest, "workers": workers}, True


S = TypeVar("S", bound=ComponentSpec)


class _Components:
    """Resolves and validates a task's components."""

    def __init__(self, registry: Registry, problems: Problems) -> None:
        self._registry = registry
        self._problems = problems

    def capture(self, data: Any) -> ComponentSpec | None:
        """Take the capturer, whose options lie flat beside ``type``."""
        if not isinstance(data, Mapping):
            return None  # what is wrong with it has been said
        options = build(CaptureOptions, {k: v for k, v in data.items() if k in CAPTURE_KEYS}, "capture", self._problems)
        if options is BAD:
            return None
        own = {key: value for key, value in data.items() if key not in CAPTURE_KEYS}
        return self._spec("capturer", options, own, ("capture", "capture.type", "capture"), ComponentSpec)

    def each(self, key: str, data: Any, options_class: type, spec_class: type[S]) -> list[S]:
        """Take a list of components, each a name or an object."""
        specs: list[S] = []
        taken: dict[str, str] = {}
        for i, entry in enumerate(data if isinstance(data, (list, tuple)) else ()):
            path = join(key, i)
            spec = self._entry(key.removesuffix("s"), entry, path, options_class, spec_class)
            if spec is None:
                continue
            if spec.id in taken:
                self._problems.add(
                    f"{path}.id", f"{spec.id!r} is {taken[spec.id]} already: give one of them another id"
                )
            taken.setdefault(spec.id, path)
            specs.append(spec)
        return specs

    def every_parser(self, data: Mapping[str, Any]) -> list[ComponentSpec]:
        """Take every installed parser that can do without options and does not wait to be named, when the task names
        none: one that does not work is left out.
        """
        if data.get("parsers"):
            return []
        found = []
        for registered in self._registry.components("parser"):
            declaration, name = registered.declaration, registered.declaration.name
            if getattr(declaration, "on_request", False):
                continue
            try:
                settings = build(declaration.load_config(), {}, "", Problems())
            except BaseException as error:
                log.warning(
                    "component_skipped", kind="parser", component=name, step="be configured", error=told_of(error)
                )
                continue
            if settings is not BAD:
                about = {"type": name, "id": name, "on_failure": "skip"}  # nobody named it
                found.append(_make(ComponentSpec, registered, settings, about))
        return found

    def _entry(self, kind: str, entry: Any, path: str, options_class: type, spec_class: type[S]) -> S | None:
        if isinstance(entry, str):
            options = options_class(type=entry)
            return self._spec(kind, options, {}, (path, path, f"{path}.config"), spec_class)
        if not isinstance(entry, Mapping):
            return None  # what is wrong with it has been said
        options = build(options_class, entry, path, self._problems)
        if options is BAD:
            return None
        return self._spec(kind, options, options.config, (path, f"{path}.type", f"{path}.config"), spec_class)

    def _spec(self, kind: str, options: Any, config: Any, paths: tuple[str, str, str], spec_class: type[S]) -> S | None:
        """Resolve one component and make its settings. ``paths`` are those of the entry, its type and its options."""
        try:
            registered = self._registry.component(kind, options.type)
        except PluginNotFound as error:
            self._problems.add(paths[1], str(error))
            return None
        settings = self._settings(registered.declaration, config, paths[2], self._problems)
        if settings is BAD:
            return None
        about = {
            attribute.name: getattr(options, attribute.name)
            for attribute in attrs.fields(type(options))
            if attribute.name != "config"
        }
        return _make(spec_class, registered, settings, {**about, "id": options.id or options.type})

    @staticmethod
    def _settings(declaration: Declaration, config: Any, path: str, problems: Problems) -> Any:
        try:
            return build(declaration.load_config(), config, path, problems)
        except BaseException as error:  # it cannot be imported, or has a type that cannot be configured or resolved
            return problems.add(path, f"the configuration class of {declaration.name} is broken: {told_of(error, 300)}")


def _make(spec_class: type[S], registered: Registered, settings: Any, about: Mapping[str, Any]) -> S:
    return spec_class(declaration=registered.declaration, settings=settings, record=registered.record, **about)
