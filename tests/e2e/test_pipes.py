"""A pipe where a file is wanted: whoever reads it says so, and does not wait for somebody to write to it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from otus_kafka.executed import Executed
from tests import needs
from tests.e2e.node import Node
from tests.live.net import OTUS
from tests.patience import PATIENCE_S, free_port, wait

CALL = str(needs.ROOT / "examples" / "call.pcap")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def options(kind: str, pipe: Path) -> dict[str, Any]:
    if kind == "password_file":
        return {"sasl": {"enabled": True, "username": "u", "password_file": str(pipe)}}
    return {"tls": {"enabled": True, kind: str(pipe)}}


@pytest.mark.parametrize("kind", ["password_file", "ca_file", "cert_file"])
def test_a_worker_does_not_wait(node: Node, pipe: Path, kind: str) -> None:
    kafka = {"topic": "t", "brokers": [f"127.0.0.1:{free_port()}"], **options(kind, pipe)}
    node.start()
    task = {"id": "t", "capture": {"type": "pcap", "files": [CALL]}, "reporters": [{"type": "kafka", "config": kafka}]}
    node.rpc("task_create", config=task)
    wait(lambda: f"{pipe}: is not a regular file" in str(node.state("t")), what="the task says why it does not start")


def test_the_daemon_does_not_wait(node: Node, pipe: Path) -> None:
    """It answers, and says what the channel lacks."""
    channel = f"{{enabled: true, type: kafka, kafka: {{brokers: ['127.0.0.1:{free_port()}'], {{}}}}}}"
    node.write("info", "  command_channel: " + channel.replace("{}", f"signing: {{keys_file: {pipe}}}") + "\n")
    node.start()
    wait(
        lambda: f"{pipe}: is not a regular file" in str(node.rpc("daemon_status")["result"]["troubles"]),
        what="the status says why the channel is down",
    )


def test_the_metrics_do_not_wait_for_a_certificate(node: Node, pipe: Path) -> None:
    text = node.config.read_text()
    node.config.write_text(text.replace("metrics: {", f"metrics: {{tls: {{cert_file: {pipe}}}, "))
    done = subprocess.run(
        [OTUS, "daemon", "-c", str(node.config)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 1 and f"{pipe}: is not a regular file" in done.stderr


def test_the_note_of_executed_commands_is_no_pipe(pipe: Path) -> None:
    with pytest.raises(OSError, match="is not a regular file"):
        Executed(pipe, 10).load(0.0)
