"""Runs a task as ``otus run`` does, in a process of its own, and gives what it reports: for commands of plugins that
show records in a way of their own.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from otus_core import interpreter
from otus_core.errors import OtusError

INTERRUPTED = 130
_RUN = "import sys; from otus_core.cli import main; sys.exit(main())"


class RunFailed(OtusError):
    """A run that ended with an ``exit_status`` other than 0. It has said why on standard error itself."""

    def __init__(self, exit_status: int) -> None:
        super().__init__("")
        self.exit_status = exit_status


def run_task(
    task: Mapping[str, Any], *, files: Sequence[str] = (), interface: str | None = None, options: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Run a task on capture files or on an interface, and give each message and record that it reports, as a dict of
    the fields that ``--format json`` prints, when it comes.

    ``task`` has the keys of a task file except ``capture`` and ``reporters``; ``options`` are further ones of
    ``otus run``, such as ``--bpf``. Ctrl-C ends a live run, and not the caller. Raises RunFailed.
    """
    whole = {**task, "capture": {}, "reporters": [{"type": "console", "config": {"format": "json"}}]}
    with tempfile.TemporaryDirectory(prefix="otus-") as folder:
        path = Path(folder) / "task.json"
        path.write_text(json.dumps(whole), encoding="utf-8")
        source = ["-i", interface] if interface is not None else ["--", *files]
        command = [sys.executable, "-P", "-c", _RUN, "run", "--quiet", "--task", str(path), *options, *source]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=interpreter.environment()) as process:
            assert process.stdout is not None
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run hears it too, and ends with its last lines
            try:
                for line in process.stdout:
                    yield json.loads(line)
            except GeneratorExit:
                process.terminate()
                raise
            finally:
                signal.signal(signal.SIGINT, before)
        if process.returncode not in (0, INTERRUPTED):
            raise RunFailed(process.returncode)
