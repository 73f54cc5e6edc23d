"""The reporter ``console`` keeps the contract of reporters, as text and as JSON."""

from __future__ import annotations

from typing import ClassVar

from otus_core.testing.contract import ReporterContract


class TestText(ReporterContract):
    component = "console"


class TestJson(ReporterContract):
    component = "console"
    config: ClassVar = {"format": "json"}
    written = 0

    def arrived(self) -> int | None:
        lines = getattr(self, "lines", None)
        return None if lines is None else lines.written.count(b"\n")
