"""A daemon that takes its commands from Kafka, as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from otus_kafka import envelope
from tests.live.net import OTUS, control
from tests.patience import PATIENCE_S, wait

from .broker import Broker
from .client import consume, make_topic, produce

HOST = "edge-kafka-1"


class Daemon:
    """A daemon in the machine's own namespace, where the broker is; its interface to the calls is one end of a veth
    pair.
    """

    def __init__(
        self,
        broker: Broker,
        folder: Path,
        host: str = HOST,
        topics: tuple[str, str] | None = None,
        metrics: str = "",
        level: str = "info",
        environment: dict[str, str] | None = None,
        **channel: Any,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.broker = broker
        self.host = host
        self.environment = environment or {}
        self.commands, self.answers = topics or (make_topic(broker, 1), make_topic(broker, 1))
        self.data = make_topic(broker, 3)
        self.config = folder / "config.yml"
        self.config.write_text(
            json.dumps(
                {
                    "otus": {
                        "node": {"hostname": host, "ip": "127.0.0.1"},
                        "control": {"socket": f"{folder}/o.sock", "pid_file": f"{folder}/o.pid"},
                        "data_dir": f"{folder}/data",
                        "metrics": {"enabled": bool(metrics), "listen": metrics or "127.0.0.1:0"},
                        "log": {"level": level, "outputs": {"file": {"enabled": True, "path": f"{folder}/otus.log"}}},
                        "kafka": {"brokers": [broker.bootstrap]},
                        "command_channel": {
                            "enabled": True,
                            "kafka": {
                                "topic": self.commands,
                                "response_topic": self.answers,
                                "auto_offset_reset": "earliest",
                                **channel,
                            },
                        },
                    }
                }
            )
        )
        self.start()

    def start(self) -> None:
        """Start the process, again after it was killed."""
        with open(self.folder / "stderr.txt", "ab") as errors:  # a pipe that nobody reads would be full some time
            self.process = subprocess.Popen(
                [OTUS, "daemon", "-c", str(self.config)],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **self.environment},
            )

    def kill(self) -> None:
        """End the process as a crash does."""
        self.process.kill()
        self.process.wait()

    def ask(
        self, command: str, payload: dict[str, Any] | None = None, target: str = "", key: bytes | None = None
    ) -> dict[str, Any]:
        """Send a command, signed where there is a key, and wait for its answer."""
        request_id = f"{command}-{time.monotonic_ns()}"
        value = envelope.make_command(target or self.host, command, payload or {}, request_id, time.time())
        headers = {envelope.SIGNATURE_HEADER: envelope.sign(key, value)} if key else None
        produce(self.broker, self.commands, value, headers=headers)
        found: list[dict[str, Any]] = []

        def answered() -> bool:
            found[:] = [r.json for r in consume(self.broker, self.answers) if r.json["request_id"] == request_id]
            return bool(found)

        wait(answered, what=f"answer to {command}; {self.process.poll()}")
        return found[0]

    def call(self, *arguments: str) -> dict[str, Any]:
        """Run an ``otus`` command against the daemon; gives its JSON answer."""
        status, answer, errors = control(self.folder, *arguments)
        assert status == 0, errors
        return dict(answer)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What the log file says of one kind of event."""
        lines = (self.folder / "otus.log").read_text().rpartition("\n")[0].splitlines()
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=PATIENCE_S)
