"""Runs a task as a user does: ``otus run`` in a process of its own, on frames or on a capture file."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from otus_core.values import frozen

WITHIN_S = 120
BEGUN_NS = 1_771_669_800_000_000_000
APART_NS = 1_000_000
ETHERNET = 1
NANOSECONDS = 0xA1B23C4D
"""Magic number of a pcap file whose times are in nanoseconds (draft-ietf-opsawg-pcap)."""
SNAP_LEN = 262_144

Timed = bytes | tuple[int, bytes]
"""A frame, or the time at which it was captured, in ns since 1970, and the frame."""


@frozen
class Ran:
    """What a run gave: each output as a dict (the JSON of ``--format json``), the counters, and what was said on
    standard error.
    """

    outputs: list[dict[str, Any]]
    summary: dict[str, Any]
    errors: str
    status: int

    def of(self, payload_type: str) -> list[dict[str, Any]]:
        """Give the outputs of one payload type, messages and records alike."""
        return [output for output in self.outputs if output["payload_type"] == payload_type]


class Host:
    """Runs tasks; its files are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self,
        source: Path | Sequence[Timed] | None,
        *options: str,
        task: Mapping[str, Any] | None = None,
        link_type: int = ETHERNET,
        environment: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run on a capture file, or on frames, with further options of ``otus run``; on ``None`` what the task says is
        captured.

        Frames are a millisecond apart unless they come with their times. ``task`` holds keys of a task file, such as
        ``{"parsers": [{"type": "dns", "config": {"ports": [5353]}}]}``; its messages are printed unless it has
        reporters. ``environment`` is added to this process's own.
        """
        path = self._capture(source, link_type) if isinstance(source, Sequence) else source
        if task is not None:
            options = (*options, "--task", str(self._task(task)))
        summary = self._folder / "otus-summary.json"
        summary.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-P",
            "-c",
            "import sys; from otus_core.cli import main; sys.exit(main())",
            "run",
            *([str(path)] if path else []),
        ]
        if "--format" not in options and "--task" not in options:
            options = (*options, "--format", "json")
        done = subprocess.run(
            [*command, "-q", "--summary-json", str(summary), *options],
            capture_output=True,
            timeout=WITHIN_S,
            check=False,
            env={**os.environ, **(environment or {})},
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
        told = json.loads(summary.read_text()) if summary.exists() else {}
        return Ran([json.loads(line) for line in lines], told, done.stderr.decode(errors="replace"), done.returncode)

    def _task(self, given: Mapping[str, Any]) -> Path:
        path = self._folder / "otus-task.json"
        printed = [{"type": "console", "config": {"format": "json"}}]
        path.write_text(json.dumps({"id": "run", "reporters": printed, "capture": {}, **given}))
        return path

    def _capture(self, frames: Sequence[Timed], link_type: int) -> Path:
        path = self._folder / "otus-frames.pcap"
        with path.open("wb") as file:
            file.write(struct.pack("<IHHiIII", NANOSECONDS, 2, 4, 0, 0, SNAP_LEN, link_type))
            for n, frame in enumerate(frames):
                time, data = (BEGUN_NS + n * APART_NS, frame) if isinstance(frame, bytes) else frame
                file.write(struct.pack("<IIII", *divmod(time, 10**9), len(data), len(data)) + data)
        return path
