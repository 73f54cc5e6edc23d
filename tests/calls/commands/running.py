"""Runs the commands as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OTUS = str(Path(sys.executable).with_name("otus"))
B2BUA = "goffinet__sip-2phones-B2BUA-Asterisk.pcapng"
"""Two legs of a call, messages sent again, media between the phones."""


def otus(*arguments: object, columns: int | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run ``otus`` with standard output in a pipe; ``columns`` as a terminal of that width would say."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")} | more
    environment |= {} if columns is None else {"COLUMNS": str(columns)}
    command = [OTUS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def shown(*arguments: object, columns: int | None = None) -> list[str]:
    """Run it, see that it went well, and give the lines that it shows."""
    done = otus(*arguments, columns=columns)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()
