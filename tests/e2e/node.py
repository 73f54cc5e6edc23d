"""A daemon as a process of its own, without privilege, and the folder that it lives in."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.live.net import OTUS, ask, control
from tests.patience import PATIENCE_S, free_port, wait


class Node:
    """A daemon's folder: its configuration, and the process when it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "config.yml"
        self.process: subprocess.Popen[bytes] | None = None
        self.under: list[str] = []  # a program that runs the daemon in its own place
        self.write("info")

    def write(self, level: str, more: str = "") -> None:
        self.config.write_text(
            f"otus:\n  node: {{hostname: edge-1, ip: 127.0.0.1}}\n"
            f"  control: {{socket: {self.folder}/o.sock, pid_file: {self.folder}/o.pid}}\n"
            f"  data_dir: {self.folder}/data\n  metrics: {{listen: '127.0.0.1:{self.port}'}}\n"
            f"  resources: {{max_workers: 4}}\n"
            f"  log: {{level: {level}, outputs: {{file: {{enabled: true, path: {self.folder}/otus.log}}}}}}\n{more}"
        )

    def start(self, *arguments: str, **environment: str) -> None:
        with (self.folder / "errors").open("ab") as errors:
            self.process = subprocess.Popen(
                [*self.under, OTUS, "daemon", "-c", str(self.config), *arguments],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **environment},
            )
        wait(lambda: self.call("status", "--alive")[0] == 0, what="the daemon answers")

    def call(self, *arguments: str, text: str | None = None) -> tuple[int, Any, str]:
        """Give exit status, the JSON answer, and standard error."""
        return control(self.folder, *arguments, text=text)

    def rpc(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask without a process of its own; gives the whole answer."""
        return ask(self.folder, method, **params)

    def state(self, task_id: str) -> dict[str, Any]:
        """Give one task's status."""
        return dict(self.rpc("task_status", task_id=task_id)["result"])

    def runs(self, task_id: str) -> bool:
        """Whether a task runs; one that is not back yet after a restart does not."""
        told = self.rpc("task_status", task_id=task_id)
        return bool(told.get("result", {}).get("state") == "running")

    def ended(self) -> int:
        """Wait until the daemon has ended; gives its exit status."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample, by name and labels."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE_S).read().decode()
        families = text_string_to_metric_families(text)
        return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}

    def log(self) -> list[dict[str, Any]]:
        """What the log file says, in lines that are whole."""
        whole = (self.folder / "otus.log").read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def task(capture: Path, task_id: str = "t1", speed: float = 0.001) -> str:
    return json.dumps(
        {
            "id": task_id,
            "capture": {"type": "pcap", "files": [str(capture)], "speed": speed},
            "parsers": ["sip"],
            "reporters": ["discard"],
        }
    )
