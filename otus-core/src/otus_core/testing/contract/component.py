"""What all contract suites share: the component is made as a task makes it, found by its name, with its configuration
checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from otus_core.config.converter import structure
from otus_core.context import Context
from otus_core.model.flows import FlowRegistry
from otus_core.model.own_counters import counting_alone
from otus_core.plugins.loader import load
from otus_core.plugins.selection import Selection
from otus_core.testing.contract.speaking import Spoken
from otus_core.worker.status import check_status

TRIES = 3
"""A machine that stands still spoils some; a component that is slow spoils all."""


class Contract:
    """Makes the component that ``component`` names, with ``config``."""

    kind: str
    component: str = ""
    config: Mapping[str, Any] = MappingProxyType({})
    data_dir: str = ""

    @cached_property
    def declaration(self) -> Any:
        """The component's declaration, from the installed plugin."""
        assert self.component, f"{type(self).__name__}: name the component"
        return load(Selection()).component(self.kind, self.component).declaration

    def settings(self, data: Mapping[str, Any] | None = None) -> Any:
        """Give checked settings, of ``config`` unless others are given."""
        return structure(self.declaration.load_config(), dict(self.config if data is None else data), "config")

    def make(self, data: Mapping[str, Any] | None = None) -> Any:
        """Construct and wire a new component."""
        return self.make_speaking(data)[0]

    def make_speaking(self, data: Mapping[str, Any] | None = None) -> tuple[Any, Spoken]:
        """Construct and wire a new component; gives also what it says."""
        declaration = self.declaration
        made = declaration.load_factory()(self.settings(data))
        spoken = Spoken(declaration, self.component)
        spoken.deliver = lambda key, message: made.on_route(key, message)
        flows = FlowRegistry() if getattr(declaration, "wants_flows", False) else None
        made.wire(self.context(flows=flows, emit=spoken.emit, route=spoken.route))
        return made, spoken

    def take_status(self, status: str, why: str = "") -> None:
        """Take what the component says of itself. Raises ValueError for a status that there is not."""
        check_status(f"{self.kind} {self.component}", status)
        assert isinstance(why, str), f"context.status(): why is {why!r}, not text"

    def context(self, **more: Any) -> Context:
        """Give what the component is wired to."""
        about = {"task_id": "test", "agent_id": "test", "component_id": self.component, "hostname": "test"}
        counter = counting_alone(self.kind, self.component, self.declaration)
        given: dict[str, Any] = {
            **about,
            "data_dir": self.data_dir,
            "counter": counter,
            "status": self.take_status,
            **more,
        }
        return Context(**given)
