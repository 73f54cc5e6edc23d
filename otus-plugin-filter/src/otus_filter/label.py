"""Processor ``label``: adds static labels and what is known of the node."""

from __future__ import annotations

from otus_core import BaseProcessor, Context, OutputPacket
from otus_filter.compiler import compile_expression
from otus_filter.config import LabelConfig


class Label(BaseProcessor):
    """Adds the same labels to every message, or to those that match; a label is absent, not empty, when the node has no
    such thing.
    """

    def __init__(self, config: LabelConfig) -> None:
        self._config = config
        self._added = dict(config.labels)
        self._matches = None if config.when is None else compile_expression(config.when)

    def wire(self, context: Context) -> None:
        """Take what is configured of the node."""
        config = self._config
        known = [(config.hostname, context.hostname), (config.node_ip, context.node_ip)]
        known += [(label, context.tags.get(tag, "")) for tag, label in config.tags.items()]
        self._added.update((label, value) for label, value in known if label is not None and value)

    def process(self, output: OutputPacket) -> bool:
        """Add the labels; every message stays."""
        if self._matches is None or self._matches(output):
            output.labels.update(self._added)
        return True
