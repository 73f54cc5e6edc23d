"""What the installed plugins offer: components by kind and name, and the hooks that are called now and then."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from otus_core.declarations import Declaration
from otus_core.errors import PluginNotFound
from otus_core.log import Logger
from otus_core.model.text import tell
from otus_core.plugins.known import names_of
from otus_core.plugins.limited import CHANCES, LIMITS_S, TookTooLong, limit_time
from otus_core.plugins.missing import why_missing
from otus_core.plugins.records import ComponentRecord, PluginRecord, state_of
from otus_core.plugins.selection import Selection
from otus_core.values import frozen

if TYPE_CHECKING:
    from otus_core.config.sections import Sections

ERROR_MAX = 300
"""Characters of a plugin's error in a log line: its text may be anything."""
log = Logger("otus.plugins")

HEIRS = {"reporter": "reporters", "command_channel": "command_channel"}
"""Where the daemon's configuration has options of components of a kind, by their names."""


@frozen(kw_only=True, eq=False)
class Loaded:
    """A plugin's record, with the manager that calls its hooks when it is ready."""

    record: PluginRecord
    manager: pluggy.PluginManager | None = attrs.field(default=None, eq=False, repr=False)


@frozen(eq=False)
class Registered:
    """A component that can be used, and the plugin that it comes from."""

    declaration: Declaration
    record: PluginRecord


class Registry:
    """Every plugin found, and the components of those that are ready."""

    def __init__(self, loaded: Sequence[Loaded], selection: Selection) -> None:
        self.selection = selection
        self._loaded = tuple(loaded)
        self._attached: list[tuple[object, Loaded]] = []
        self._overruns: dict[tuple[str, str], int] = {}
        self._ready = {
            (component.kind, component.name): Registered(component.declaration, one.record)
            for one in loaded
            for component in one.record.components
            if component.stage == "ready"
        }

    @property
    def loaded(self) -> tuple[Loaded, ...]:
        """Every plugin with the manager that calls its hooks."""
        return self._loaded

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """One record a plugin, the core's own first, then by name."""
        return tuple(one.record for one in self._loaded)

    def components(self, kind: str) -> list[Registered]:
        """Give the components of one kind that can be used, by name; parsers by priority first."""
        found = [registered for (its_kind, _), registered in self._ready.items() if its_kind == kind]
        # By name as well: the order must not depend on how entry points lie on the disk.
        return sorted(found, key=lambda r: (getattr(r.declaration, "priority", 0), r.declaration.name))

    def config_sections(self) -> Sections:
        """Give what plugins add to the daemon's configuration.

        A class that cannot be imported is left out: its component says why when it is used.
        """
        from otus_core.config.sections import Sections, Shared, check_shared  # not needed to list plugins

        classes: dict[str, type] = {}
        for key, kind in HEIRS.items():
            for one in self.components(key):
                # A module may call sys.exit() when it is imported; the daemon does not end for that.
                with contextlib.suppress(Exception, SystemExit):
                    classes[f"{kind}.{one.declaration.name}"] = one.declaration.load_config()
        blocks: dict[str, Shared] = {}
        for record in self.records:
            for declared in record.shared:
                try:
                    cls = declared.load_config()
                    check_shared(declared.name, cls, tuple(blocks))
                except (Exception, SystemExit) as error:
                    reason = tell(error, ERROR_MAX)
                    log.warning("shared_configuration_refused", plugin=record.plugin, name=declared.name, error=reason)
                    continue
                heirs = (heir.partition(":") for heir in declared.heirs)
                paths = tuple(f"{HEIRS[kind]}.{name}" for kind, _, name in heirs)
                made = Shared(name=declared.name, cls=cls, summary=declared.summary, heirs=paths, bound=declared.bound)
                blocks[declared.name] = made
        return Sections(
            classes=classes,
            shared=tuple(blocks.values()),
            is_complete=all(record.state == "ready" for record in self.records),
            known_elsewhere=frozenset(name for kind in HEIRS for name in names_of(kind)),
        )

    def component(self, kind: str, name: str) -> Registered:
        """Give one component. Raises PluginNotFound, which says what to install or why its plugin is not ready."""
        found = self._ready.get((kind, name))
        if found is None:
            offered = [registered.declaration.name for registered in self.components(kind)]
            raise PluginNotFound(why_missing(self.records, kind, name, offered))
        return found

    def log_failures(self) -> None:
        """Log every plugin and component that failed, once."""
        failures = [(record, what) for record in self.records for what in _failures(record)]
        if not failures:
            return
        for record, what in failures:
            log.warning(
                "plugin_failed",
                plugin=record.plugin,
                distribution=record.distribution,
                version=record.version,
                stage=what.stage,
                error=what.reason,
                remedy=what.remedy,
            )

    def call(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every ready plugin; one that raises is logged and stops nobody else."""
        for _ in self.answers(hook, **arguments):
            pass

    def answers(self, hook: str, **arguments: Any) -> Iterator[tuple[PluginRecord, Any]]:
        """Call a hook of every ready plugin and give what each answers."""
        return self._answers((*self._loaded, *(one for _, one in self._attached)), hook, arguments)

    def call_attached(self, hook: str, **arguments: Any) -> None:
        """Call a hook of the attached components alone: what modules are told once a node is told in the daemon."""
        for _ in self._answers(tuple(one for _, one in self._attached), hook, arguments):
            pass

    def _answers(
        self, asked: Sequence[Loaded], hook: str, arguments: dict[str, Any]
    ) -> Iterator[tuple[PluginRecord, Any]]:
        for one in asked:
            overruns = self._overruns.get((one.record.plugin, hook), 0)
            # A hook runs on the event loop: one that is slow each time would hold up control and metrics again and
            # again.
            if one.manager is None or overruns >= CHANCES:
                continue
            try:
                with limit_time(LIMITS_S.get(hook)):
                    answers = getattr(one.manager.hook, hook)(**arguments)
            except KeyboardInterrupt:
                raise
            except TookTooLong as error:
                self._overruns[one.record.plugin, hook] = overruns + 1
                self.log_hook_failure(one.record, hook, error, is_cut_off=overruns + 1 >= CHANCES)
                continue
            except BaseException as error:
                self.log_hook_failure(one.record, hook, error)
                continue
            for answer in answers:
                yield one.record, answer

    def attach(self, component: object, record: PluginRecord) -> None:
        """Have the hooks called that a component of a plugin receives itself.

        Raises PluginInitFailed for one that cannot be called.
        """
        from otus_core.plugins.component_hooks import hooks_of  # not needed to list plugins

        manager = hooks_of(component)
        if manager is not None:
            self._attached.append((component, Loaded(record=record, manager=manager)))

    def detach(self, component: object) -> None:
        """Call a component's hooks no more."""
        self._attached = [pair for pair in self._attached if pair[0] is not component]

    def log_hook_failure(
        self, record: PluginRecord, hook: str, error: BaseException, *, is_cut_off: bool = False
    ) -> None:
        """Log and count that a plugin's hook raised, answered what cannot be used, or took too long; after the last
        time that it may, it ``is_cut_off``.
        """
        from otus_core.chores import count_failures  # brings asyncio, which short commands do without

        about = {"plugin": record.plugin, "version": record.version, "hook": hook}
        log.warning("plugin_hook_failed", **about, error=tell(error, ERROR_MAX))
        count_failures(f"{record.plugin}:{hook}")
        if is_cut_off:
            log.error("plugin_hook_cut_off", **about, reason=f"it took too long {CHANCES} times")


def _failures(record: PluginRecord) -> list[PluginRecord | ComponentRecord]:
    lost: list[PluginRecord | ComponentRecord] = [c for c in record.components if state_of(c.stage) == "failed"]
    return lost or ([record] if record.state == "failed" else [])
