"""What ``otus run`` does: makes a task of its arguments, runs it here or in workers, and says how it went."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import stat
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from otus_core.cli.ending import Result, failures_of, status_of
from otus_core.cli.hidden import as_arguments
from otus_core.cli.progress import Progress, summary_text
from otus_core.cli.watchdog import Watchdog
from otus_core.errors import ConfigInvalid, ConfigProblem, OtusError, PluginNotFound
from otus_core.logs.repeats import Repeats
from otus_core.pipeline.counters import summary
from otus_core.plugins.registry import Registry
from otus_core.process.output import LineMerger, StdoutWriter
from otus_core.process.privilege import acquire, ids_of, seal
from otus_core.process.terminal import terminal_columns
from otus_core.task.config import load_task, read_task_file
from otus_core.task.deprecated import find_deprecated
from otus_core.task.inherit import TaskDefaults
from otus_core.task.sharing import sharing_warnings
from otus_core.task.spec import TaskConfig
from otus_core.values import frozen
from otus_core.worker.assembly import Node, Place, assemble, name_left_out, names_of, origins, roster_of
from otus_core.worker.course import unless
from otus_core.worker.worker import Worker

FORMATS = ("text", "json", "none")
LAST_LINES_S = 10.0
"""How long a slow reader gets for the last lines of a run that was interrupted, or is live; a file waits as long as it
takes.
"""


@frozen(kw_only=True, eq=False)
class RunRequest:
    """The arguments of ``otus run``."""

    files: tuple[str, ...] = ()
    interface: str | None = None
    bpf: str | None = None
    format: str | None = None
    task: Path | None = None
    parsers: tuple[str, ...] = ()
    processors: tuple[str, ...] = ()
    keep: str | None = None
    workers: int | None = None
    user: str = ""
    tunnels: str | None = None
    speed: float | None = None
    summary_json: Path | None = None
    quiet: bool = False


def run_foreground(request: RunRequest, registry: Registry, defaults: TaskDefaults | None = None) -> int:
    """Run, with these plugins and a daemon's defaults, and give the exit status.

    Raises OtusError for what the arguments or the task have wrong.
    """
    begun = time.monotonic()
    registry.log_failures()
    try:
        config = load_task(task_data(request), registry, defaults)
    except ConfigInvalid as error:
        raise ConfigInvalid([_by_option(one, request) for one in error.problems], error.source) from None
    _warn_without_parser(config, registry)
    for warning in (*sharing_warnings(config), *find_deprecated(config)):
        sys.stderr.write(f"otus: warning: {warning}\n")
    with _summary_file(request.summary_json) as file:
        result = run_task(config, registry, request, seals=True)
        result.summary["not_looked_into"] = as_arguments(result.summary["not_looked_into"])
        result.summary["elapsed_s"] = round(time.monotonic() - begun, 6)
        result.summary["cpu_s"] = round(_cpu_s(), 6)
        _tell(result, request, file)
    return status_of(result, live=config.capture.declaration.live)


def _warn_without_parser(config: TaskConfig, registry: Registry) -> None:
    """Say so when no packet can become a message, and what to do about it; a parser of ICMP errors alone is none."""
    parsers = [spec for spec in config.parsers if spec.declaration.transports != ("icmp",)]
    if parsers or config.unmatched_policy == "forward":
        return
    try:
        registry.component("parser", "sip")
    except PluginNotFound as error:
        sys.stderr.write(f"otus: there is no parser, so nothing will be reported: {error}\n")


def task_data(request: RunRequest) -> dict[str, Any]:
    """Make the task that the arguments mean. Raises ConfigInvalid when they contradict each other."""
    _check(request)
    data: dict[str, Any]
    if request.task is not None:
        data = dict(read_task_file(request.task))
        if request.files or request.interface:
            data["capture"] = {}
        data.setdefault("capture", {})
    else:
        kept = [] if request.keep is None else [{"type": "filter", "config": {"keep_if": request.keep}}]
        data = {
            "capture": {},
            "parsers": list(request.parsers),
            "processors": [*request.processors, *kept],
            "reporters": [_reporter(request.format or "text")],
        }
    data["id"] = "run"
    _set_capture(data, request)
    if request.workers is not None:
        data["workers"] = request.workers
        data["capture"].pop("fanout_size", None)
    if request.tunnels is not None:
        tunnels = [name.strip() for name in request.tunnels.split(",") if name.strip()]
        data["decoder"] = {**(data.get("decoder") or {}), "tunnels": tunnels}
    return data


def _by_option(problem: ConfigProblem, request: RunRequest) -> ConfigProblem:
    """Name a fault in what an option gave by the option, where the task's key would mean nothing to the user."""
    keys = {"decoder.tunnels": "--tunnels"} if request.tunnels is not None else {}
    if request.task is None:
        keys |= {f"parsers[{n}]": "--parser" for n in range(len(request.parsers))}
        keys |= {f"processors[{n}]": "--processor" for n in range(len(request.processors))}
        keys[f"processors[{len(request.processors)}]"] = "--filter"
    option = next((option for key, option in keys.items() if problem.path.startswith(key)), problem.path)
    return ConfigProblem(option, problem.message)


def _set_capture(data: dict[str, Any], request: RunRequest) -> None:
    capture = data["capture"]
    if request.files:
        capture.update(type="pcap", files=list(request.files))
    elif request.interface:
        capture.update(type="afpacket", interface=request.interface)
    if request.bpf is not None:
        capture["bpf_filter"] = request.bpf
    if request.speed is not None:
        capture["speed"] = request.speed


def _reporter(name: str) -> dict[str, Any]:
    if name == "none":
        return {"type": "discard"}
    return {"type": "console", "config": {"format": name}}


def _check(request: RunRequest) -> None:
    problems = []
    if request.files and request.interface:
        problems.append(ConfigProblem("", "give FILE or --interface, not both"))
    if not request.files and not request.interface and request.task is None:
        problems.append(ConfigProblem("", "nothing to read: give a FILE, - for stdin, --interface or --task"))
    if request.format is not None and request.format not in FORMATS:
        problems.append(ConfigProblem("--format", f"{request.format!r} is not one of {', '.join(FORMATS)}"))
    if request.task is not None:
        given = (
            ("--parser", request.parsers or None),
            ("--processor", request.processors or None),
            ("--filter", request.keep),
            ("--format", request.format),
        )
        told = "is the task file's matter when --task is given"
        problems += [ConfigProblem(name, told) for name, value in given if value is not None]
    # Workers read a file each for itself; standard input can be read once.
    if "-" in request.files and (request.workers or 1) > 1:
        problems.append(
            ConfigProblem("--workers", f"is {request.workers}, but one worker alone can read standard input")
        )
    if problems:
        raise ConfigInvalid(problems)


def run_task(config: TaskConfig, registry: Registry, request: RunRequest, *, seals: bool = False) -> Result:
    """Run a task to its end: here when one process will do, else in workers.

    ``seals`` when this process is the run's own: what parses here gives up its rights, for good, as a worker does.
    """
    node = Node(hostname=socket.gethostname())
    if config.workers == 1 and not config.capture.declaration.live:
        return asyncio.run(_run_here(config, node, request, seals=seals))
    return asyncio.run(_run_workers(config, node, registry, request))


async def _run_here(config: TaskConfig, node: Node, request: RunRequest, *, seals: bool) -> Result:
    # Files are opened with the rights of whoever started us, and read without them.
    opened = acquire(config.capture)
    if seals:
        _seal(ids_of(request.user))
    repeats = Repeats(origins(config))
    stdout = StdoutWriter()
    place = Place(
        descriptors=opened,
        stdout=stdout,
        waited=lambda: stdout.waited_ns,
        on_error=repeats.note_error,
        on_refused=repeats.note_refusal,
    )
    ending = asyncio.Event()
    # Ctrl-C counts from here on, while components are made, which may take long.
    stops = [ending.set]  # asyncio takes long to set a handler: this one stays, and calls whatever is last here
    _on_signals(lambda: stops[-1]())
    with Watchdog() as watchdog:
        assembly = await unless(ending, assemble(config, node, place))
        if assembly is None:
            return _none_ran(config)
        worker = Worker(assembly, node, place, watchdog)
        watchdog.guard(worker)
        stops.append(worker.stop)
        # A signal may have come before.
        if ending.is_set():
            worker.stop()
        accounts = worker.assembly.accounts
        with Progress(config, request.quiet, accounts.snapshot, worker.assembly.source.progress) as progress:
            stdout.before_write = progress.clear
            outcome = await worker.run()
    error = watchdog.error or _name_left_out(config, name_left_out(assembly))
    counters = assembly.summary(accounts.snapshot())
    return Result(counters, outcome.faults, interrupted=outcome.stopped, error=error, stdout_ended=stdout.ended)


def _none_ran(config: TaskConfig) -> Result:
    """Give the result of a run that was interrupted before its components were there."""
    return Result(summary(dict.fromkeys(names_of(config), 0), roster_of(config)), [], interrupted=True)


def _name_left_out(config: TaskConfig, left: Collection[str]) -> str:
    """Say so when no parser could be started."""
    names = {f"parser {spec.id}" for spec in config.parsers}
    if not names or not names <= set(left) or config.unmatched_policy == "forward":
        return ""
    return "no parser could be started, so nothing was reported"


def _seal(user: tuple[int, int] | None) -> None:
    try:
        seal(user=user)
    except OSError as error:
        raise OtusError(f"the rights that reading needs no longer could not be given up: {error.strerror}") from error


async def _run_workers(config: TaskConfig, node: Node, registry: Registry, request: RunRequest) -> Result:
    from otus_core.process.messages import Columns
    from otus_core.supervise.supervisor import TaskSupervisor
    from otus_core.supervise.surroundings import Surroundings

    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    interrupted = False

    def stop() -> None:
        nonlocal interrupted
        interrupted = True
        stopping.set()

    _on_signals(stop)
    merger = LineMerger(on_closed=lambda: loop.call_soon_threadsafe(supervisor.abandon_output))
    around = Surroundings(
        user=ids_of(request.user),
        node=node,
        plugins=registry.selection.plain(),
        merger=merger,
        isatty=os.isatty(1),
        columns=terminal_columns,
        log_level="info",
    )
    supervisor = TaskSupervisor(config, around)

    def fit() -> None:
        for slot in supervisor.slots:
            slot.send(Columns(terminal_columns()))

    # The terminal has another width now; workers have none of their own to ask.
    loop.add_signal_handler(signal.SIGWINCH, fit)
    with Progress(config, request.quiet, supervisor.counters, supervisor.progress) as progress:
        merger.before_write = progress.clear
        starting = asyncio.ensure_future(supervisor.start())
        stopped = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():  # it ends with the workers
            await supervisor.stop()
        await starting
        ended = asyncio.ensure_future(supervisor.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        left = {name for slot in supervisor.slots for name in slot.left_out}
        await supervisor.stop()
        ended.cancel()
        stopped.cancel()
    written = await asyncio.to_thread(merger.close, LAST_LINES_S)
    while not (written or interrupted or config.capture.declaration.live):  # a reader of a file's lines takes its time
        written = await asyncio.to_thread(merger.close, 0.5)
    error = supervisor.error or _name_left_out(config, left)
    return Result(dict(supervisor.summary()), supervisor.faults, interrupted, error, merger.ended)


def _on_signals(stop: Any) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def _tell(result: Result, request: RunRequest, file: int | None) -> None:
    """Write the summary where it is wanted, and every fault on a line of its own."""
    if request.summary_json is not None:
        _write_summary(result.summary, request.summary_json, file)
    if not request.quiet:
        sys.stderr.write(summary_text(result.summary))
    faults = [str(fault) for fault in result.faults]
    for line in dict.fromkeys([*faults, *failures_of(result)]):  # workers may tell the same
        sys.stderr.write(f"otus: {line}\n")


@contextmanager
def _summary_file(path: Path | None) -> Iterator[int | None]:
    """Open the file that the summary goes to, with the rights that the run gives up.

    What is in it stays until then, and of a run that fails to start none is left.
    """
    if path is None or str(path) == "-":
        yield None
        return
    # Opened before rights are given up, written after the run. Not emptied yet: a run that cannot start leaves the old
    # one.
    is_new = not path.exists()
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OtusError(f"{path}: cannot write the summary: {error.strerror}") from error
    try:
        yield file
    except BaseException:
        if is_new:
            with suppress(OSError):  # the folder is another user's, and we no longer have root's rights
                path.unlink()
        raise
    finally:
        os.close(file)


def _write_summary(summary: dict[str, Any], path: Path, file: int | None) -> None:
    text = json.dumps(summary, indent=1) + "\n"
    if file is None:
        sys.stdout.write(text)
        return
    try:
        # A pipe or /dev/stdout cannot be cut to length (ftruncate(2): EINVAL).
        if stat.S_ISREG(os.fstat(file).st_mode):
            os.ftruncate(file, 0)
        with open(file, "w", encoding="utf-8", closefd=False) as writes:
            writes.write(text)
    except OSError as error:
        raise OtusError(f"{path}: cannot write the summary: {error.strerror}") from error


def _cpu_s() -> float:
    # RUSAGE_CHILDREN has those that were waited for (getrusage(2)): all workers, by now.
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
