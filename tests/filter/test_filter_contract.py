"""The processors ``filter`` and ``label`` keep the contract of processors."""

from __future__ import annotations

from typing import ClassVar

from otus_core.testing.contract import ProcessorContract


class TestKeep(ProcessorContract):
    component = "filter"
    config: ClassVar = {"keep_if": "sip.method == 'INVITE'"}


class TestRules(ProcessorContract):
    component = "filter"
    config: ClassVar = {
        "rules": [{"label": "sip.call_id", "values": ["call-1"], "action": "drop"}],
        "drop_if": "sip.method == 'OPTIONS' or src_port > 6000",
    }


class TestLabel(ProcessorContract):
    component = "label"
    config: ClassVar = {"labels": {"x.site": "north"}}
