"""A process of ``otus run`` that takes HEP and passes it on, for tests."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.live.net import OTUS
from tests.patience import free_port, wait


def is_bound(port: int, protocol: str) -> bool:
    """Whether somebody on this machine has a socket at 127.0.0.1 and this port."""
    lines = Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]
    return any(line.split()[1] == f"0100007F:{port:04X}" for line in lines)


class Process:
    """A program that runs until the test is over; ``log`` has what it said."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.log = folder / f"{Path(command[0]).name}.log"
        self.output = folder / f"{Path(command[0]).name}.out"
        with self.log.open("ab") as log, self.output.open("wb") as output:
            self.child = subprocess.Popen(command, stdout=output, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)

    def until(self, so: Callable[[], object], what: str) -> None:
        def so_or_gone() -> object:
            assert self.child.poll() is None, f"it ended: {self.log.read_text()[-2000:]}"
            return so()

        wait(so_or_gone, what=what)

    def end(self, sign: int = signal.SIGTERM) -> int:
        if self.child.poll() is None:
            self.child.send_signal(sign)
        return self.child.wait(60)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Relay(Process):
    """Listens on ``port``, over UDP and TCP, and gives messages to its reporters, console in JSON unless told."""

    def __init__(self, folder: Path, *reporters: dict[str, Any], **capture: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        console = {"type": "console", "config": {"format": "json"}}
        written = {
            "capture": {"type": "hep", "udp": [self.address], "tcp": [self.address], **capture},
            "parsers": ["sip"],
            "reporters": list(reporters) or [console],
        }
        (folder / "task.json").write_text(json.dumps(written))
        self._summary = folder / "summary.json"
        told = ("--summary-json", str(self._summary))
        super().__init__(folder, OTUS, "run", "--task", str(folder / "task.json"), "-q", *told)
        self.until(lambda: is_bound(self.port, "tcp") and is_bound(self.port, "udp"), "it listens")

    def outputs(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many messages."""
        self.until(lambda: self.output.read_bytes().count(b"\n") >= count, f"{count} messages come")
        return [json.loads(line) for line in self.output.read_bytes().splitlines()]

    def summary(self) -> dict[str, Any]:
        """End it, and give what it counted."""
        self.end()
        told: dict[str, Any] = json.loads(self._summary.read_text())
        assert told["unaccounted"] == 0
        return told


def as_bag(things: Any) -> Counter[Any]:
    return Counter(things)
