"""Measures and limits memory of real processes."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.live.net import OTUS

KINDS = (
    ("cgroup v2", Path("/sys/fs/cgroup"), "memory.max"),
    ("cgroup v1", Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
)


def peak(*arguments: object, **options: object) -> tuple[int, int]:
    """Run ``otus`` to its end; gives its exit status and the most memory that it had at a time, in bytes."""
    process = subprocess.Popen([OTUS, *map(str, arguments)], stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_maxrss << 10


@contextmanager
def limited(pids: Iterable[int], most: int) -> Iterator[str]:
    """Limit the memory of processes and of their children together: by cgroup v2 or v1 where it may be used, else each
    alone by RLIMIT_AS. Says which.
    """
    for kind, folder, key in KINDS:
        group = folder / f"otus-{os.getpid()}"
        try:
            if kind == "cgroup v2" and "memory" not in (folder / "cgroup.controllers").read_text():
                continue
            group.mkdir()
        except OSError:
            continue
        try:
            (group / key).write_text(str(most))
            for pid in pids:
                (group / "cgroup.procs").write_text(str(pid))
            yield kind
        finally:
            _leave(group, folder)
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_AS, (most, before[1]))
    yield "RLIMIT_AS"


def _leave(group: Path, folder: Path) -> None:
    for pid in (group / "cgroup.procs").read_text().split():
        with suppress(OSError):  # it has ended
            (folder / "cgroup.procs").write_text(pid)
    group.rmdir()
