"""What a process gives up: capabilities, its user, system calls, and outliving its parent."""

from __future__ import annotations

import os
import pwd
import signal
from typing import Any

from otus_core.errors import CaptureError, OtusError, TaskStartFailed
from otus_core.model.text import tell
from otus_core.process.kernel import get_capabilities, get_death_signal, prctl, set_capabilities
from otus_core.process.seccomp import refuse_system_calls
from otus_core.task.spec import ComponentSpec

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_DUMPABLE = 4
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CAP_NET_RAW = 13
CAP_LAST = 63


def die_with_parent(parent: int) -> None:
    """End this process when its parent ends. An orphan would keep its fanout seat and take its share of the traffic."""
    # The kernel's doing, so it holds whatever this process is stuck in, a plugin's endless loop included (prctl(2)).
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # A parent that ended before the call above sends no signal any more: it has another parent by now.
    if os.getppid() != parent:
        os._exit(1)


def acquire(capture: ComponentSpec, shard: int = 0, shards: int = 1) -> list[int]:
    """Open what may need the rights that this process is about to give up: files that only root can read.

    Raises CaptureError, OSError, and TaskStartFailed for whatever else the capturer does.
    """
    raise_capabilities()
    try:
        return call_acquire(capture, shard, shards, {})
    except (CaptureError, OSError):
        raise
    except BaseException as error:
        raise TaskStartFailed(f"capturer {capture.id} could not acquire its source: {tell(error)}") from error


def call_acquire(capture: ComponentSpec, shard: int, shards: int, state: dict[str, Any]) -> list[int]:
    """Call the capturer's ``acquire``, which gives descriptors. Raises what it raises, and TypeError."""
    opens: Any = getattr(capture.declaration.load_factory(), "acquire", None)
    given = list(opens(capture.settings, shard, shards, state)) if opens is not None else []
    if not all(type(one) is int for one in given):
        raise TypeError("acquire() gave something else than a list of descriptors")
    return given


def seal(*kept: int, user: tuple[int, int] | None = None) -> None:
    """Give up for good what this process does not need: every capability but ``kept``, another user's rights, and
    system calls.

    ``user`` are the ids of the user and the group that root becomes. Raises OSError when the kernel refuses.
    """
    if user is not None and os.geteuid() == 0:
        _become(*user)
    keep_capabilities(*kept)
    refuse_system_calls()


def ids_of(name: str) -> tuple[int, int] | None:
    """Give the ids of a user and its group, ``None`` for no name. Raises OtusError when there is no such user."""
    if not name:
        return None
    try:
        found = pwd.getpwnam(name)
    except (KeyError, ValueError):
        raise OtusError(f"there is no user {name!r}") from None
    return found.pw_uid, found.pw_gid


def _become(uid: int, gid: int) -> None:
    parent, ends = os.getppid(), get_death_signal()
    # Groups first, then the group, then the user: without root's rights the others could not be given up any more.
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    # A change of user takes both away (prctl(2)): without the second a process may not look at its own /proc/self/fd.
    if ends:
        die_with_parent(parent)
    prctl(PR_SET_DUMPABLE, 1)


def keep_capabilities(*kept: int) -> None:
    """Give up every capability but ``kept``, for good. Raises OSError when the kernel refuses."""
    for capability in range(CAP_LAST + 1):
        if capability not in kept:
            # Refused without CAP_SETPCAP: then there is little to lose
            prctl(PR_CAPBSET_DROP, capability)
    if not kept:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _, permitted, _ = get_capabilities()
    permitted &= sum(1 << capability for capability in kept)
    set_capabilities(permitted, permitted, 0)


def raise_capabilities() -> None:
    """Put every capability that this process may have into force.

    A program file may permit a capability without that, so that it runs where nobody grants the capability, too; with
    it the kernel would refuse to start the program there (capabilities(7), "File capabilities").
    """
    effective, permitted, inheritable = get_capabilities()
    if permitted & ~effective:
        set_capabilities(permitted, permitted, inheritable)
