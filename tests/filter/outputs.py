"""Messages to filter."""

from __future__ import annotations

from typing import Any

from otus_core import OutputPacket


def output(labels: dict[str, str] | None = None, **fields: Any) -> OutputPacket:
    """Make an INVITE from 10.1.2.3:5060 to 192.0.2.7:5080 unless told otherwise."""
    told: dict[str, Any] = {
        "src_ip": "10.1.2.3",
        "dst_ip": "192.0.2.7",
        "src_port": 5060,
        "dst_port": 5080,
        "payload_type": "sip",
    }
    return OutputPacket(
        task_id="task-1", **(told | fields), labels={"sip.method": "INVITE"} if labels is None else labels
    )
