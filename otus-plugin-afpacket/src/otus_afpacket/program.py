"""BPF programs for packet sockets: the user's filter, in front of it what is never to be taken, and behind it what is
to be counted instead of taken.

Programs are packed ``struct sock_filter``s (linux/filter.h). A guard is a program that accepts what is *not* wanted:
``put_guard_before`` puts it in front of another, ``put_mark_behind`` behind it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

import otus_core

INSTRUCTION = struct.Struct("=HBBI")
# linux/bpf_common.h: class, size and mode of an instruction, added up.
RET_K = 0x06
LD_IMM = 0x00
LDX_IMM = 0x01
JA = 0x05
LD_W_ABS = 0x20
JEQ_K = 0x15
SKF_AD_OFF = 0xFFFFF000  # linux/filter.h: ancillary data lies at these negative offsets
SKF_AD_PKTTYPE = SKF_AD_OFF + 4
SKF_AD_IFINDEX = SKF_AD_OFF + 8
# linux/if_packet.h.
PACKET_OUTGOING = 4
CONNECTIONS_MAX = 32
"""Connections that are left out one by one: with more the program would grow without end."""

Connection = tuple[str, int, str, int]
"""Local address and port, remote address and port."""

NOTHING = INSTRUCTION.pack(RET_K, 0, 0, 0)
MARK = 1
"""Bytes that are kept of a frame which is only to be counted: nobody else cuts a frame to so few.

A filter of the kernel's cannot count what it refuses.
"""
SIGN = 0x0707_5001
"""Begins what ``put_mark_behind`` made, so that ``remove_mark`` can take it apart; no compiler begins a program by
loading a constant that nobody reads.
"""


def accept(snap_len: int) -> bytes:
    """Take everything, ``snap_len`` bytes of it."""
    return INSTRUCTION.pack(RET_K, 0, 0, snap_len)


def cut(program: bytes, snap_len: int) -> bytes:
    """Take at most ``snap_len`` bytes of what the program accepts: what it returns is the length that is kept."""
    parts = []
    for code, jt, jf, k in INSTRUCTION.iter_unpack(program):
        parts.append(INSTRUCTION.pack(code, jt, jf, min(k, snap_len) if code == RET_K else k))
    return b"".join(parts)


def put_guard_before(guard: bytes, program: bytes) -> bytes:
    """Refuse what ``guard`` accepts, and leave the rest to ``program``."""
    steps = list(INSTRUCTION.iter_unpack(guard))
    parts = []
    for i, (code, jt, jf, k) in enumerate(steps):
        if code != RET_K:
            parts.append(INSTRUCTION.pack(code, jt, jf, k))
        elif k:
            parts.append(NOTHING)
        else:
            # JA (jump always) has 32 bits for its distance; conditional jumps have 8, and would not reach over a long
            # program.
            parts.append(INSTRUCTION.pack(JA, 0, 0, len(steps) - i - 1))
    return b"".join(parts) + program


def put_mark_behind(program: bytes, guard: bytes) -> bytes:
    """Of what ``program`` accepts, cut to ``MARK`` bytes what ``guard`` accepts as well.

    Without a guard it is the program.
    """
    if not guard:
        return program
    steps = list(INSTRUCTION.iter_unpack(program))
    taken = max(k for code, _, _, k in steps if code == RET_K)
    parts = [INSTRUCTION.pack(LDX_IMM, 0, 0, SIGN), INSTRUCTION.pack(LD_IMM, 0, 0, len(steps))]
    for i, (code, jt, jf, k) in enumerate(steps):
        accepts = code == RET_K and k
        parts.append(INSTRUCTION.pack(JA, 0, 0, len(steps) - i - 1) if accepts else INSTRUCTION.pack(code, jt, jf, k))
    for code, jt, jf, k in INSTRUCTION.iter_unpack(guard):
        parts.append(INSTRUCTION.pack(code, jt, jf, (MARK if k else taken) if code == RET_K else k))
    return b"".join(parts)


def remove_mark(program: bytes) -> bytes:
    """Give the program that ``put_mark_behind`` was given; any other as it is."""
    steps = list(INSTRUCTION.iter_unpack(program))
    if len(steps) < 2 or steps[0] != (LDX_IMM, 0, 0, SIGN):
        return program
    length = steps[1][3]
    base, guard = steps[2 : 2 + length], steps[2 + length :]
    taken = max(k for code, _, _, k in guard if code == RET_K)
    parts = []
    for i, step in enumerate(base):
        accepts = step == (JA, 0, 0, length - i - 1)  # only what ``put_mark_behind`` wrote leads out of the program
        parts.append(INSTRUCTION.pack(*((RET_K, 0, 0, taken) if accepts else step)))
    return b"".join(parts)


def outgoing_on(index: int) -> bytes:
    """Accept what leaves by this interface. On the loopback interface each packet is seen leaving and coming back."""
    return b"".join(
        INSTRUCTION.pack(*step)
        for step in (
            (LD_W_ABS, 0, 0, SKF_AD_IFINDEX),
            (JEQ_K, 0, 3, index),
            (LD_W_ABS, 0, 0, SKF_AD_PKTTYPE),
            (JEQ_K, 0, 1, PACKET_OUTGOING),
            (RET_K, 0, 0, 1),
            (RET_K, 0, 0, 0),
        )
    )


def connections_guard(connections: Iterable[Connection], link_type: int) -> bytes:
    """Accept the packets of these TCP connections, empty without one.

    Of more than ``CONNECTIONS_MAX`` the first few count.
    """
    wanted = sorted(set(connections))[:CONNECTIONS_MAX]
    if not wanted:
        return b""
    return otus_core.compile_bpf(" or ".join(_matching(*one) for one in wanted), link_type)


def _matching(local: str, local_port: int, remote: str, remote_port: int) -> str:
    """Both directions of one connection, by both addresses and both ports."""
    ends = []
    for ours, theirs in (("dst", "src"), ("src", "dst")):
        hosts = f"{ours} host {local} and {theirs} host {remote}"
        ends.append(f"({hosts} and tcp {ours} port {local_port} and tcp {theirs} port {remote_port})")
    return "(" + " or ".join(ends) + ")"


def mentions_vlan(expression: str) -> bool:
    """Whether the expression asks for tags, which the kernel takes out of frames before a socket's filter sees them."""
    return re.search(r"\bvlan\b", expression) is not None
