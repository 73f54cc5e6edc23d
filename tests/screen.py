"""A program that draws on a whole terminal, as a user works with it: what it has written, and keys that are pressed."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Callable
from typing import Any

STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Screen:
    """A terminal of 30 lines. ``start`` starts the program; it is given what Popen is to have besides the command."""

    def __init__(self, start: Callable[..., subprocess.Popen[Any]], columns: int) -> None:
        self.parent, self.child = pty.openpty()
        fcntl.ioctl(self.child, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.before = termios.tcgetattr(self.child)
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        self.process = start(
            stdin=self.child,
            stdout=self.child,
            stderr=self.child,
            env=environment | {"TERM": "xterm-256color"},
            start_new_session=True,
        )
        self._all = ""
        self._since = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        characters = codecs.getincrementaldecoder("utf-8")("replace")  # a piece may end within a character
        while True:
            try:
                self._all += characters.decode(os.read(self.parent, 65536))
            except OSError:
                return

    @property
    def written(self) -> str:
        """What was written since ``press``."""
        return self._all[self._since :]

    def shows(self, text: str) -> bool:
        """Whether this was written since ``press``."""
        return text in STYLE.sub("", self.written)

    def press(self, keys: str) -> None:
        """Look no more at what was written, and press keys."""
        self._since = len(self._all)
        os.write(self.parent, keys.encode())

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.wait()
        os.close(self.child)
        os.close(self.parent)
