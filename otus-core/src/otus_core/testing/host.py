"""Runs a task as a user does: ``otus run`` in a process of its own, on frames or on a capture file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import dpkt

WITHIN_S = 120


@attrs.frozen
class Ran:
    """What a run gave: each output as a dict (the JSON of ``--format json``), the counters, and what was said on
    standard error.
    """

    outputs: list[dict[str, Any]]
    summary: dict[str, Any]
    errors: str
    status: int


class Host:
    """Runs tasks; its files are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, source: Path | Sequence[bytes] | None, *options: str) -> Ran:
        """Run on a capture file, or on Ethernet frames, with further options of ``otus run``; on ``None`` what
        ``--task`` says is captured.
        """
        path = self._capture(source) if isinstance(source, Sequence) else source
        summary = self._folder / "otus-summary.json"
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
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
        told = json.loads(summary.read_text()) if summary.exists() else {}
        return Ran([json.loads(line) for line in lines], told, done.stderr.decode(errors="replace"), done.returncode)

    def _capture(self, frames: Sequence[bytes]) -> Path:
        path = self._folder / "otus-frames.pcap"
        with path.open("wb") as file:
            writer = dpkt.pcap.Writer(file)
            for n, frame in enumerate(frames):
                writer.writepkt(frame, ts=1_771_669_800 + n / 1000)
        return path
