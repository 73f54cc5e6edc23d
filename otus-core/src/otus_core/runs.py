"""Runs a task as ``otus run`` does, in a process of its own, and gives what it reports: for commands of plugins that
show records in a way of their own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from otus_core import interpreter
from otus_core.errors import OtusError

# 128 and SIGINT, as shells say it: what a run gives that Ctrl-C has ended.
INTERRUPTED = 130
ENDING = (signal.SIGINT, signal.SIGTERM)
LAST_WORDS_S = 5.0
"""How long the run may take to close standard error when its output has ended."""


class RunFailed(OtusError):
    """A run that ended with an ``exit_status`` other than 0. It has said why on standard error itself."""

    def __init__(self, exit_status: int) -> None:
        super().__init__("")
        self.exit_status = exit_status


def run_task(
    task: Mapping[str, Any],
    *,
    files: Sequence[str] = (),
    interface: str | None = None,
    options: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    on_fault: Callable[[str], None] | None = None,
    stopping: threading.Event | None = None,
) -> Iterator[dict[str, Any]]:
    """Run a task on capture files or on an interface, and give each message and record that it reports, as a dict of
    the fields that ``--format json`` prints, when it comes.

    ``task`` has the keys of a task file except ``capture`` and ``reporters``; ``options`` are further ones of
    ``otus run``, such as ``--bpf``. Where the run tells of a fault in a key of the task, ``names`` says what the user
    knows it by: ``{"processors[1].config.keep_if": "--where"}``. ``on_fault`` gets each line, in a thread, that would
    go to standard error. SIGINT, as of Ctrl-C, and SIGTERM end the run, and not the caller; so does ``stopping``, set
    in another thread.
    Raises RunFailed, with exit status 130 when Ctrl-C ended a run before the end of its files.
    """
    whole = {**task, "capture": {}, "reporters": [{"type": "console", "config": {"format": "json"}}]}
    with tempfile.TemporaryDirectory(prefix="otus-") as folder:
        path = Path(folder) / "task.json"
        path.write_text(json.dumps(whole), encoding="utf-8")
        source = ["-i", interface] if interface is not None else ["--", *files]
        run = [str(os.getpid()), "run", "--quiet", "--task", str(path), *options, *source]
        command = interpreter.command("otus_core.cli.child", *run)
        errors = subprocess.PIPE if names or on_fault else None
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=interpreter.environment()) as process:
            assert process.stdout is not None
            telling = threading.Thread(target=_tell, args=(process.stderr, names or {}, on_fault or _show), daemon=True)
            telling.start()
            if stopping is not None:
                threading.Thread(target=_end, args=(process, stopping), daemon=True).start()
            try:
                with _signals_for(process):
                    for line in process.stdout:
                        yield json.loads(line)
            except GeneratorExit:
                process.terminate()
                raise
            telling.join(LAST_WORDS_S)
        if process.returncode and (process.returncode != INTERRUPTED or interface is None):
            raise RunFailed(process.returncode)


def _end(process: subprocess.Popen[bytes], stopping: threading.Event) -> None:
    stopping.wait()
    process.terminate()


@contextmanager
def _signals_for(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave the signals that end a command to the run, which then ends with its last lines. Only the main thread can.

    Of Ctrl-C the run hears by itself too, as all programs at the terminal do: a second signal changes nothing for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: process.terminate()) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(lines: IO[bytes] | None, names: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Pass on what the run says on standard error, with the names that the user knows."""
    for line in lines or ():
        text = line.decode("utf-8", "backslashreplace")
        for key, name in names.items():
            text = text.replace(f"otus: {key}: ", f"otus: {name}: ", 1)
        tell(text)


def _show(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()
