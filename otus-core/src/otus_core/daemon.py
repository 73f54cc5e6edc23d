"""The daemon: puts configuration, logs, tasks, metrics and control together, and takes them apart in order.

Start: configuration → logs → plugins → the data folder's lock → kept tasks become known → control socket → metrics →
kept tasks start → command channels → READY. Stop: command channels → tasks (buffers flushed) → metrics → socket → locks
→ logs. Everything runs on one event loop; packets are the workers' business.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import secrets
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from otus_core.chores import Chores, failures, report_failure, watch_loop
from otus_core.components import BaseCommandChannel
from otus_core.config.changes import changes
from otus_core.config.effective import Effective, channel_settings, load_effective
from otus_core.context import Context
from otus_core.control.afar import execute_from_afar
from otus_core.control.channels import Channels
from otus_core.control.handler import CommandHandler, Rates
from otus_core.control.pid_file import PidFile
from otus_core.control.protocol import Request
from otus_core.control.server import ControlServer
from otus_core.errors import ConfigInvalid, ConfigProblem
from otus_core.log import Logger
from otus_core.logs.daemon import DaemonLogs
from otus_core.model.text import tell
from otus_core.observe.metrics_server import MetricsServer, serve_metrics
from otus_core.observe.views import View, task_view
from otus_core.plugins.choice import choose, strange_names
from otus_core.plugins.loader import load
from otus_core.process.connections import Gathered
from otus_core.process.lock import lock_data_dir
from otus_core.process.output import LineMerger
from otus_core.process.privilege import ids_of
from otus_core.process.signals import hear, ignore
from otus_core.process.spawn import Reserve
from otus_core.process.systemd import Notifier
from otus_core.supervise.declared import TaskFolder
from otus_core.supervise.entry import Task
from otus_core.supervise.manager import TaskManager
from otus_core.supervise.store import TaskStore
from otus_core.supervise.surroundings import Surroundings
from otus_core.task.inherit import TaskDefaults, task_defaults
from otus_core.task.limits import limits_of
from otus_core.worker.assembly import Node

log = Logger("otus.daemon")

STOP_WITHIN_S = 30.0
"""Twice what one task may take; systemd's TimeoutStopSec in the unit that is shipped is longer."""
RESTORE_WITHIN_S = 20.0
"""How long the start waits for the first starts of kept tasks; those that take longer go on beside it."""
VIEW_WITHIN_S = 5.0
"""A scrape fails after that, and Prometheus says so; its own timeout is 10 s unless it is configured otherwise."""
WATCHDOG_EVERY_S = 1.0
"""sd_watchdog_enabled(3) recommends half of WatchdogSec, which is tens of seconds."""
COLLECT_AFTER = (700, 10, 10)
"""Python's own thresholds: callers that break off leave cycles, and a daemon is not a short command
(``cli.COLLECT_AFTER``).
"""


class Daemon:
    """One daemon. ``run`` returns when it has been told to stop and has stopped."""

    def __init__(
        self,
        path: Path | None,
        environment: Mapping[str, str] = os.environ,
        *,
        socket: Path | None = None,
        no_plugin: tuple[str, ...] = (),
        safe: bool = False,
    ) -> None:
        self._path = path
        self._environment = environment
        self._socket = socket
        self._no_plugin = no_plugin
        try:
            self._effective = load_effective(path, environment)
        except ConfigInvalid:  # said once more with the plugins' keys known, so that everything wrong is told at once
            selection = choose(path, environment, no_plugin=no_plugin, safe=safe)
            load_effective(path, environment, load(selection, probe=True).config_sections())
            raise
        self._logs = DaemonLogs(self._effective.config.log, self._effective.hostname)
        self._registry = load(choose(path, environment, no_plugin=no_plugin, safe=safe), probe=True)
        self._sections = self._registry.config_sections()
        self._effective = self._read()
        self._instance = secrets.token_hex(8)
        self._stopping = asyncio.Event()
        self._reload_failures = 0
        self._chores = Chores()
        self._channels = Channels(self._make_channel, self._command, self._registry.detach)
        self._connections = Gathered()
        self._reserve = Reserve()
        self._merger = LineMerger()
        self._rates = Rates()
        self._notifier = Notifier(environment)
        self._metrics: MetricsServer | None = None
        self._data_lock: int | None = None
        config = self._effective.config
        store = TaskStore(Path(config.data_dir)) if config.task_persistence.enabled else None
        self._manager = TaskManager(self._registry, store, self._surroundings, limits_of(config), self._defaults)
        self._folder = TaskFolder(self._manager, path)
        self._reloading: asyncio.Task[None] | None = None
        self._reload_again = False
        self._handler = CommandHandler(self._manager, self._registry, self, self._rates)
        self._server = ControlServer(
            self.socket, self._serve, lambda request: self._handler.note_answer(request.method)
        )

    @property
    def socket(self) -> Path:
        """Where the daemon is talked to."""
        return self._socket or Path(self._effective.config.control.socket)

    async def run(self) -> None:
        """Run until told to stop. Raises OtusError when it cannot start."""
        try:
            await self._run()
        finally:
            self._logs.close()  # before anything is said on standard error

    async def _run(self) -> None:
        config = self._effective.config
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        watch_loop("daemon:callback")
        if config.task_persistence.enabled:
            self._data_lock = lock_data_dir(Path(config.data_dir))
        self._manager.restore()  # before anybody can ask: a kept task's id is taken from the first moment
        await self._server.start()
        pid_file = PidFile(Path(config.control.pid_file))
        try:
            pid_file.write()
            self._on_signals()
            self._registry.log_failures()
            strange = strange_names(self._path, self._environment, no_plugin=self._no_plugin)
            for warning in (*self._effective.warnings, *strange):
                log.warning("configuration", message=warning)
            self._registry.call("otus_startup", node=self._node_facts())
            if config.metrics.enabled:
                loop = asyncio.get_running_loop()
                self._metrics = serve_metrics(config.metrics, lambda: self._view_from(loop))
            await self._folder.adopt(self._effective.config)
            auto_restart = config.task_persistence.auto_restart
            await self._manager.start_restored(start=auto_restart, within=RESTORE_WITHIN_S)
            await self._folder.apply(self._effective.config)  # what has gone from the folder meanwhile
            if config.command_channel.enabled:
                self._channels.start(config.command_channel.type)
            self._chores.start("daemon:sample", self._sample)
            self._chores.start("daemon:prune", self._prune)
            self._chores.start("daemon:watchdog", self._feed_watchdog)
            self._notifier.ready()
            log.info("daemon_ready", socket=str(self.socket), ip=self._effective.ip)
            await self._stopping.wait()
        finally:
            await self._stop(pid_file)

    def request_shutdown(self) -> None:
        """Begin to stop; further calls change nothing."""
        self._stopping.set()

    async def reload(self) -> dict[str, Any]:
        """Read the configuration again, and apply the folder of tasks; a bad file changes nothing.

        Raises ConfigInvalid.

        The log file is opened anew. Log level, metrics interval and limits change at once; the metrics' certificate and
        password are read again. Tasks that wait for their next try are tried now, and live tasks whose defaults have
        changed are started anew.
        """
        self._notifier.reloading()
        self._logs.reopen()  # whatever the configuration is like: its file may have been moved away
        try:
            fresh = self._read()
        except ConfigInvalid as error:
            self._reload_failures += 1
            log.error("reload_refused", error=str(error))
            raise
        finally:
            self._notifier.ready()
        changed, needs_restart = changes(self._effective.config, fresh.config)
        for warning in fresh.warnings:
            if warning not in self._effective.warnings:
                log.warning("configuration", message=warning)
        kept = attrs.evolve(fresh, config=fresh.config, hostname=self._effective.hostname, ip=self._effective.ip)
        self._effective = kept
        self._logs.set_level(fresh.config.log.level)
        self._manager.set_log_level(fresh.config.log.level)
        if self._metrics is not None:
            self._metrics.renew()
        self._manager.limits = limits_of(fresh.config)
        tasks = self._manager.renew()
        applied = await self._folder.apply(self._effective.config)
        log.info("reloaded", changed=changed, needs_restart=needs_restart, tasks_started_anew=tasks, **applied)
        return {"changed": changed, "needs_restart": needs_restart, "tasks_started_anew": tasks, **applied}

    def channels(self) -> list[dict[str, Any]]:
        """Give the state of the command channels."""
        return self._channels.status()

    def refused_task_files(self) -> Sequence[ConfigProblem]:
        """Give what was wrong with files of the folder of tasks when it was last read."""
        return self._folder.refused

    def warnings(self) -> list[str]:
        """Give what the configuration in force, as it was last read, is warned of."""
        return list(self._effective.warnings)

    def _read(self) -> Effective:
        """Read the configuration, with the keys that ready plugins add to it."""
        return load_effective(self._path, self._environment, self._sections)

    async def _serve(self, request: Request) -> Any:
        if request.method == "task_tap":
            return self._handler.tap(request.params)
        return await self._handler.handle(request.method, request.params)

    async def _command(self, command: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        allow = self._effective.config.command_channel.allow
        answer = await execute_from_afar(allow, self._registry, self._handler, command, payload)
        if "result" in answer:
            self._handler.note_answer(command)  # the stop of its channel lets the answer go out
        return answer

    def _on_signals(self) -> None:
        ends = dict.fromkeys((signal.SIGINT, signal.SIGTERM), self.request_shutdown)
        hear({**ends, signal.SIGHUP: self._hang_up})

    def _hang_up(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload_quietly(), name="reload")
        else:  # the files may have changed behind the reload that is under way
            self._reload_again = True

    async def _reload_quietly(self) -> None:
        self._reload_again = True
        while self._reload_again:
            self._reload_again = False
            try:
                await self.reload()
            except ConfigInvalid:
                pass  # has been logged and counted
            except Exception as error:  # the next one comes with the next signal
                self._reload_failures += 1
                report_failure("daemon:reload", error)

    def _surroundings(self) -> Surroundings:
        config = self._effective.config
        node = Node(hostname=self._effective.hostname, ip=self._effective.ip, tags=config.node.tags)
        return Surroundings(
            node=node,
            plugins=self._registry.selection.plain(),
            merger=self._merger,
            log_level=config.log.level,
            connections=self._connections,
            reserve=self._reserve,
            user=ids_of(config.resources.worker_user),
        )

    def _node_facts(self) -> dict[str, Any]:
        return {
            "hostname": self._effective.hostname,
            "ip": self._effective.ip,
            "tags": dict(self._effective.config.node.tags),
        }

    def _defaults(self) -> TaskDefaults:
        return task_defaults(self._effective.config, self._sections)

    def _view_from(self, loop: asyncio.AbstractEventLoop) -> View:
        """Have the view made on the daemon's loop, for the thread that serves metrics."""
        made: concurrent.futures.Future[View] = concurrent.futures.Future()
        loop.call_soon_threadsafe(lambda: made.set_result(self._view()))
        return made.result(VIEW_WITHIN_S)

    def _view(self) -> View:
        return View(
            tasks=tuple(task_view(task) for task in self._manager.tasks.values()),
            plugins=self._registry.records,
            reload_failures=self._reload_failures,
            log_lines_dropped=self._logs.lost,
            channels=self._channels.up(),
            namesakes=self._channels.namesakes(),
            channels_counted=self._channels.read_counters(),
            channels_said=self._channels.read_statuses(),
            chore_failures=failures(),
            spool_bytes_left=sum(one.bytes for one in self._manager.leftovers),
            scrapes_closed=self._metrics.closed if self._metrics is not None else {},
        )

    def _make_channel(self, name: str) -> BaseCommandChannel:
        """Make a channel of the configuration that is in force. Raises what its plugin raises."""
        config = self._effective.config
        registered = self._registry.component("command_channel", name)
        declaration = registered.declaration
        settings: Any = channel_settings(config, declaration.load_config())
        channel: BaseCommandChannel = declaration.load_factory()(settings)
        channel.wire(
            Context(
                task_id="",
                agent_id=self._effective.hostname,
                component_id=name,
                hostname=self._effective.hostname,
                node_ip=self._effective.ip,
                tags=config.node.tags,
                data_dir=config.data_dir,
                instance=self._instance,
                **self._channels.give_own(name, declaration),
            )
        )
        self._registry.attach(channel, registered.record)
        return channel

    async def _sample(self) -> None:
        while True:
            self._rates.sample(self._manager.tasks)
            self._manager.sample()
            await asyncio.sleep(self._effective.config.metrics.interval)

    async def _prune(self) -> None:
        while True:
            self._manager.prune()
            await self._manager.look_for_leftovers()
            await asyncio.sleep(self._effective.config.task_persistence.gc_interval)

    async def _feed_watchdog(self) -> None:
        """Feed systemd's watchdog only while every running worker's loop turns; one that hangs is replaced long before
        systemd's patience ends.
        """
        while True:
            if all(_is_fresh(task) for task in self._manager.tasks.values()):
                self._notifier.watchdog()
            await asyncio.sleep(WATCHDOG_EVERY_S)

    async def _stop(self, pid_file: PidFile) -> None:
        """Take everything apart, in order, each step bounded."""
        # First of all: systemd then waits for the end in the place of calling the service hung.
        self._notifier.stopping()
        log.info("daemon_stopping")
        await self._chores.stop()
        # Before tasks are stopped: a command that came now would meet a daemon that is half taken apart.
        await self._channels.stop()
        await _await_bounded("tasks", self._manager.close(), STOP_WITHIN_S)
        self._registry.call("otus_shutdown")
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)
        await asyncio.to_thread(self._merger.close, 2.0)
        # Late: until here a caller is still told that the daemon is stopping.
        await self._server.stop()
        if self._data_lock is not None:
            os.close(self._data_lock)
        pid_file.remove()
        log.info("daemon_stopped")
        ignore()  # one that comes late would kill a process that has stopped well


async def _await_bounded(what: str, step: Any, within: float) -> None:
    try:
        async with asyncio.timeout(within):
            await step
    except TimeoutError:
        log.warning("stop_took_too_long", what=what, seconds=within)
    except Exception as error:
        log.error("stop_failed", what=what, error=tell(error))


def _is_fresh(task: Task) -> bool:
    """Whether no worker of the task that should run is silent; one that is being restarted is looked after already."""
    supervisor = task.supervisor
    return supervisor is None or not supervisor.is_stuck
