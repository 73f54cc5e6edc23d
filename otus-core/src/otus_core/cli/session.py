"""What the global options say, and what comes of them; every command finds it in ``typer.Context.obj``."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from otus_core.cli.commands import Entry
    from otus_core.plugins.registry import Registry
    from otus_core.plugins.selection import Selection
    from otus_core.plugins.survey import Survey
    from otus_core.task.inherit import TaskDefaults


class Session:
    """One invocation of ``otus``."""

    def __init__(
        self,
        *,
        config: Path | None = None,
        socket: Path | None = None,
        output: Literal["text", "json"] = "text",
        no_plugin: tuple[str, ...] = (),
        safe: bool = False,
    ) -> None:
        self.config = config
        self.socket = socket
        self.output = output
        self.no_plugin = no_plugin
        self.safe = safe

    @property
    def json_output(self) -> bool:
        """Whether answers are wanted as JSON."""
        return self.output == "json"

    @cached_property
    def selection(self) -> Selection:
        """Which plugins are wanted: ``plugins`` of the configuration file where one is given, then the variables and
        the options. Names that nobody has are told on standard error.
        """
        from otus_core.plugins.choice import choose, strange_names

        for message in strange_names(self.config, no_plugin=self.no_plugin):
            sys.stderr.write(f"otus: {message}\n")
        return choose(self.config, no_plugin=self.no_plugin, safe=self.safe)

    @cached_property
    def registry(self) -> Registry:
        """The plugins, loaded at first use."""
        from otus_core.plugins.loader import load

        return load(self.selection, probe=True)

    @cached_property
    def survey(self) -> Survey:
        """What the plugins offer, without importing any of them in this process."""
        from otus_core.plugins.survey import survey

        return survey(self.selection)

    @cached_property
    def task_defaults(self) -> TaskDefaults | None:
        """What tasks inherit from the configuration that --config names; none without it. Raises ConfigInvalid."""
        if self.config is None:
            return None
        from otus_core.config.effective import load_effective
        from otus_core.task.inherit import task_defaults

        # Tasks inherit no address, and this node may have none
        environment = {
            "OTUS_NODE_IP": "127.0.0.1",
            **os.environ,
        }
        sections = self.registry.config_sections()
        return task_defaults(load_effective(self.config, environment, sections).config, sections)

    @cached_property
    def plugin_commands(self) -> dict[str, Entry]:
        """The commands that plugins add."""
        from otus_core.cli.commands import plugin_commands

        return plugin_commands(self.survey)


def session_of(context: Any) -> Session:
    """Give the session of a ``typer.Context``, made from the global options at first use."""
    root = context.find_root()
    if root.obj is None:
        given = root.params
        root.obj = Session(
            config=given.get("config"),
            socket=given.get("socket"),
            output=given.get("output") or "text",
            no_plugin=tuple(given.get("no_plugin") or ()),
            safe=bool(given.get("safe")),
        )
    session: Session = root.obj
    return session
