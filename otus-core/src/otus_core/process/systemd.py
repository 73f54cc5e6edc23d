"""Tells systemd how the service is doing (sd_notify(3)): datagrams to the socket that it names."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

READY_FD = "OTUS_READY_FD"
"""Set in a daemon that goes to the background: the descriptor to which it writes that it is ready."""


class Notifier:
    """Does nothing when not started by systemd."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watched = bool(environment.get("WATCHDOG_USEC"))
        waiting = environment.get(READY_FD, "")
        self._ready_fd = int(waiting) if waiting.isdigit() else None

    def ready(self) -> None:
        """The service is up, or has reloaded. A parent that waits for a daemon in the background is told too."""
        self._send("READY=1")
        if self._ready_fd is not None:
            os.write(self._ready_fd, b"ready")
            os.close(self._ready_fd)
            self._ready_fd = None
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)  # the terminal is let go of: from now on there are the log file and Loki
            os.close(null)

    def reloading(self) -> None:
        """A reload has begun; systemd wants to know when."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """All is well."""
        if self._watched:
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # "@" stands for the abstract namespace, whose addresses begin with a zero byte (sd_notify(3), unix(7)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.sendto(message.encode(), address)
        except OSError:
            pass  # systemd will notice by itself
