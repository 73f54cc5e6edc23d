"""What became of each plugin: one record, the same for the list, the log, the metric and ``daemon_status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from otus_core.model.text import printable
from otus_core.values import frozen

if TYPE_CHECKING:
    from otus_core.declarations import Declaration, SharedConfig

REASON_MAX = 300
"""Characters of an error that are kept: it goes into logs and answers."""
Stage = Literal["found", "version", "import", "register", "validate", "conflict", "ready", "disabled"]
STAGES: tuple[Stage, ...] = ("found", "version", "import", "register", "validate", "conflict", "ready", "disabled")
"""In the order in which a plugin goes through them; it stays at the one where it fails."""


def state_of(stage: Stage, reason: str = "") -> str:
    """Say in one word what a stage means: ``ready``, ``disabled`` or ``failed``; ``found`` where loading was not asked
    for.
    """
    if stage == "found":
        return "failed" if reason else "found"
    return stage if stage in ("ready", "disabled") else "failed"


@frozen(kw_only=True, eq=False)
class Described:
    """What a list tells of a component, kept in place of its declaration where its plugin is not imported."""

    kind: str
    name: str
    summary: str = ""
    stability: str = ""
    since: str = ""
    removed_in: str = ""
    use_instead: str = ""


DESCRIBED = tuple(attribute.name for attribute in attrs.fields(Described))


@frozen(kw_only=True, eq=False)
class ComponentRecord:
    """One declared component: ``ready``, lost in a ``conflict``, or ``disabled`` where ``plugins.prefer`` gives its
    name to another.
    """

    declaration: Any
    """A Declaration, or what is Described of it where its plugin is not imported."""
    stage: Stage = "ready"
    reason: str = ""
    remedy: str = ""

    @property
    def kind(self) -> str:
        """Kind of the component, ``parser`` for one."""
        return str(self.declaration.kind)

    @property
    def name(self) -> str:
        """Name of the component, as a task gives it."""
        return str(self.declaration.name)


@frozen(kw_only=True, eq=False)
class PluginRecord:
    """One entry point: how far it came, why no further, and what to do about it."""

    plugin: str
    distribution: str
    version: str
    stage: Stage = "found"
    reason: str = ""
    remedy: str = ""
    components: tuple[ComponentRecord, ...] = ()
    shared: tuple[SharedConfig, ...] = ()

    @property
    def state(self) -> str:
        """``ready``, ``failed`` or ``disabled``; ``found`` when loading was not asked for."""
        return state_of(self.stage, self.reason)

    def __str__(self) -> str:
        about = f"plugin {self.plugin} ({self.distribution} {self.version})"
        if self.stage in ("ready", "found"):
            return f"{about}: {self.stage}"
        return (
            f"{about}: {self.stage}: {self.reason}" if self.state == "failed" else f"{about} is disabled: {self.reason}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """Give one plain object a component; a plugin that declared none gives one with ``kind`` null."""
        if not self.components:
            return [self._row(self.plugin, None, self.stage, self.reason, self.remedy)]
        return [self._row(c.name, c.kind, c.stage, c.reason, c.remedy, c.declaration) for c in self.components]

    def _row(
        self,
        name: str,
        kind: str | None,
        stage: Stage,
        reason: str,
        remedy: str,
        declared: Declaration | Described | None = None,
    ) -> dict[str, Any]:
        return {
            "name": name,
            "kind": kind,
            "distribution": self.distribution,
            "version": self.version,
            "state": state_of(stage, reason),
            "stage": stage,
            "reason": reason,
            "remedy": remedy,
            "plugin": self.plugin,
            "stability": declared.stability if declared else None,
            **{name: getattr(declared, name, "") for name in ("since", "removed_in", "use_instead")},
            "deprecation": deprecation(declared) if declared else "",
            "summary": declared.summary if declared else "",
        }


def deprecation(declared: Any) -> str:
    """Say of a deprecated component since when it is, until when it will be there, and what to use; empty for others.

    ``declared`` is a Declaration or what is Described of it.
    """
    if declared.stability != "deprecated":
        return ""
    since = f" since {declared.since}" if declared.since else ""
    removed = f", to be removed in {declared.removed_in}" if declared.removed_in else ""
    instead = f"; use {declared.use_instead} instead" if declared.use_instead else ""
    return f"deprecated{since}{removed}{instead}"


def fail(record: PluginRecord, stage: Stage, reason: str, remedy: str) -> PluginRecord:
    """Give the record of a plugin that came no further than ``stage``."""
    return attrs.evolve(record, stage=stage, reason=printable(reason, REASON_MAX), remedy=printable(remedy, REASON_MAX))
