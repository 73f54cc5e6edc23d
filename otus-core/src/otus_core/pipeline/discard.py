"""The reporter that counts and discards: what is left of a run when nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Sequence

from otus_core.components import BaseReporter, ReportResult
from otus_core.declarations import NoConfig
from otus_core.model.output import OutputPacket


class DiscardReporter(BaseReporter):
    """Takes every message for acknowledged."""

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        """Count the batch as reported."""
        return ReportResult(reported=len(batch))
