"""What a process gives up: capabilities, and outliving its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import struct

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
CAP_NET_RAW = 13
CAP_LAST = 63

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """End this process when its parent ends. An orphan would keep its fanout seat and take its share of the traffic."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def keep_capabilities(*kept: int) -> None:
    """Give up every capability but ``kept``, for good. Raises OSError when the kernel refuses."""
    for capability in range(CAP_LAST + 1):
        if capability not in kept:
            _libc.prctl(
                PR_CAPBSET_DROP, capability, 0, 0, 0
            )  # refused without CAP_SETPCAP: then there is little to lose
    if not kept:
        _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    permitted = _permitted() & sum(1 << capability for capability in kept)
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    sets = struct.pack("=6I", low, low, 0, high, high, 0)
    if _libc.capset(header, sets) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"capset: {os.strerror(code)}")


def _permitted() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    return 0
