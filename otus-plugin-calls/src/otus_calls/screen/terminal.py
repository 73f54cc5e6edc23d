"""The terminal of the screen, which knows how much was sent to it."""

from __future__ import annotations

from textual.drivers.linux_driver import LinuxDriver


class Terminal(LinuxDriver):
    """``sent`` are the characters that were written so far."""

    sent = 0

    def write(self, data: str) -> None:
        """Write to the terminal."""
        self.sent += len(data)
        super().write(data)
