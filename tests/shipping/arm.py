"""Runs a program in a user namespace in which the kernel hands programs for ARM to an emulator: ``python -m
tests.shipping.arm PROGRAM ARGUMENT...``, as root.

Every user of this machine is a user there, as a package makes one of its own. ``binfmt_misc`` belongs to the namespace,
so nobody else on the machine notices.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

QEMU = "/usr/bin/qemu-aarch64-static"
REGISTER = Path("/proc/sys/fs/binfmt_misc/register")
BINFMT = (
    r":arm:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    rf":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{QEMU}:OCF"
)
"""How the kernel knows programs for ARM."""
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
PR_SET_PDEATHSIG = 1
USERS = "0 0 65536"


def enter(mapped: int) -> None:
    """Go into namespaces of our own, and wait until somebody outside has said who is who there."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    os.kill(os.getpid(), signal.SIGSTOP)
    os.read(mapped, 1)
    os.setgid(0)
    os.setuid(0)
    subprocess.run(["mount", "-t", "binfmt_misc", "none", REGISTER.parent], check=True)
    REGISTER.write_text(BINFMT)


def main(words: list[str]) -> int:
    """Run the program; gives its exit status."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        enter(reading)
        os.execvp(words[0], words)
    os.waitpid(child, os.WUNTRACED)  # it has stopped itself: the namespace is there
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text(USERS)
    os.write(writing, b"\n")
    os.kill(child, signal.SIGCONT)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
