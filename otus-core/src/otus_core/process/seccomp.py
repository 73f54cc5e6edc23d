"""Has the kernel refuse, for good, the system calls that no worker and no opener has a use for (seccomp(2)).

The list names what is refused, and what is refused fails with EPERM. A list of what is allowed would be shorter to
argue for, but plugins, the libraries that they bring, glibc and Python choose their calls by version and machine: each
upgrade would be an outage. What is refused here is what an intruder needs to leave the process: other programs, other
processes' memory, namespaces and mounts, the kernel's own programs and modules, its keys, and interfaces with a long
record of faults.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator

from otus_core.process.kernel import set_filter

RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; an argument's low half comes first
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
X32_BIT = 0x40000000  # asm/unistd.h: x86-64's second set of numbers
NEW_NAMESPACES = 0x7E020000  # linux/sched.h: every CLONE_NEW* that clone can give

# asm/unistd_64.h, and asm-generic/unistd.h, which arm64 uses
REFUSED = {
    "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "setns": (308, 268), "unshare": (272, 97), "chroot": (161, 51), "pivot_root": (155, 41), "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "open_by_handle_at": (304, 265),
    "personality": (135, 92),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "syslog": (103, 116), "vhangup": (153, 58),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "sethostname": (170, 161), "setdomainname": (171, 162),
}  # fmt: skip
X86_ONLY = {"modify_ldt": 154, "ioperm": 173, "iopl": 172}
CLONE, CLONE3 = (56, 220), (435, 435)
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # linux/audit.h


def refuse_system_calls() -> bool:
    """Install the filter in this process, for all its threads to come; the kernel wants PR_SET_NO_NEW_PRIVS first.

    False where there is none for this machine or this kernel.
    """
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        return False
    return set_filter(program(machine))


def program(machine: str) -> bytes:
    """Give the filter for a machine, as an array of ``struct sock_filter``."""
    return b"".join(struct.pack("HBBI", *instruction) for instruction in _instructions(machine))


def _instructions(machine: str) -> Iterator[tuple[int, int, int, int]]:
    """Give each instruction: code, how many to jump over when true and when false, and its operand."""
    architecture, column = ARCHITECTURES[machine]
    refuse, allow = RET_ERRNO | errno.EPERM, RET_ALLOW
    numbers = [row[column] for row in REFUSED.values()] + (list(X86_ONLY.values()) if column == 0 else [])
    yield LOAD, 0, 0, ARCHITECTURE
    yield EQUAL, 1, 0, architecture  # another machine's calls (32 bits) have other numbers: none of them is needed
    yield RETURN, 0, 0, refuse
    yield LOAD, 0, 0, NUMBER
    yield AT_LEAST, 0, 1, X32_BIT
    yield RETURN, 0, 0, refuse
    for number in numbers:
        yield EQUAL, 0, 1, number
        yield RETURN, 0, 0, refuse
    yield EQUAL, 0, 1, CLONE3[column]
    # Its flags lie in memory, which a filter cannot see; glibc then takes clone
    yield (
        RETURN,
        0,
        0,
        RET_ERRNO | errno.ENOSYS,
    )
    yield EQUAL, 0, 3, CLONE[column]
    yield LOAD, 0, 0, FIRST_ARGUMENT
    yield ANY_BIT, 0, 1, NEW_NAMESPACES
    yield RETURN, 0, 0, refuse
    yield RETURN, 0, 0, allow
