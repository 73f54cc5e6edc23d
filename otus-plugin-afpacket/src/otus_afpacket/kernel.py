"""The kernel's side of a packet socket: numbers and structures of linux/if_packet.h, linux/filter.h and linux/if.h, and
the calls that take them.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

# linux/if_ether.h, linux/socket.h (SOL_PACKET), and from PACKET_ADD_MEMBERSHIP on linux/if_packet.h.
ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_RX_RING = 5
PACKET_STATISTICS = 6
PACKET_VERSION = 10
PACKET_FANOUT = 18
PACKET_IGNORE_OUTGOING = 23
PACKET_MR_PROMISC = 1
TPACKET_V3 = 2
# 4 (random) does no more than ``lb`` does, and 6 and 7 need a BPF program of their own.
FANOUT_MODES = {"hash": 0, "lb": 1, "cpu": 2, "rollover": 3, "qm": 5}
FANOUT_FLAG_UNIQUEID = 0x2000
FANOUT_FLAG_DEFRAG = 0x8000
# asm-generic/socket.h: one number, read or written.
SO_ATTACH_FILTER = 26
SO_GET_FILTER = 26
# sizeof(struct sock_filter), linux/filter.h.
INSTRUCTION_SIZE = 8
INSTRUCTIONS_MAX = 4096  # BPF_MAXINSNS
# linux/if_arp.h, linux/sockios.h, and linux/if.h for the flags.
ARPHRD_ETHER = 1
ARPHRD_LOOPBACK = 772
SIOCGIFFLAGS = 0x8913
SIOCGIFHWADDR = 0x8927
IFF_UP = 0x1
IFF_RUNNING = 0x40
FRAME_SIZE = 2048
"""``tp_frame_size`` bounds nothing in version 3, but must divide the ring into whole frames."""
PRIVATE_SIZE = 24
"""Bytes at the head of each block that are ours (``tp_sizeof_priv``): see ``ring.pyx``."""

_libc = ctypes.CDLL(None, use_errno=True)


def set_ring(sock: socket.socket, block_size: int, block_count: int, timeout_ms: int) -> None:
    """Make the socket's ring: ``struct tpacket_req3``. Raises OSError, ENOMEM where the kernel has no room for it."""
    # Before the ring: its layout follows from the version, which cannot be changed afterwards (EBUSY,
    # packet_setsockopt).
    sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
    frames = block_size * block_count // FRAME_SIZE
    request = struct.pack("=7I", block_size, block_count, FRAME_SIZE, frames, timeout_ms, PRIVATE_SIZE, 0)
    sock.setsockopt(SOL_PACKET, PACKET_RX_RING, request)


def bind(sock: socket.socket, index: int) -> None:
    """Take the frames of one interface, of all with index 0: ``struct sockaddr_ll``. Raises OSError."""
    # socket.bind looks names up, and knows none for "all".
    address = struct.pack("=HHi12x", socket.AF_PACKET, socket.htons(ETH_P_ALL), index)
    _check(_libc.bind(sock.fileno(), address, len(address)))


def attach(sock: socket.socket, program: bytes) -> None:
    """Attach a BPF program of packed ``sock_filter``s, in place of the one that is there. Raises OSError."""
    held = ctypes.create_string_buffer(program)
    fprog = struct.pack("@HP", len(program) // INSTRUCTION_SIZE, ctypes.addressof(held))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


def read_filter(sock: socket.socket) -> bytes:
    """Give the BPF program that is attached, empty without one. Raises OSError."""
    # Its length is counted in instructions, not in bytes, which socket.getsockopt cannot know.
    held = ctypes.create_string_buffer(INSTRUCTIONS_MAX * INSTRUCTION_SIZE)
    length = ctypes.c_uint(INSTRUCTIONS_MAX)
    _check(_libc.getsockopt(sock.fileno(), socket.SOL_SOCKET, SO_GET_FILTER, held, ctypes.byref(length)))
    return held.raw[: length.value * INSTRUCTION_SIZE]


def set_promiscuous(sock: socket.socket, index: int) -> None:
    """Take what is not meant for this machine, for as long as the socket lives: ``struct packet_mreq``.

    Raises OSError.
    """
    sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("=iHH8s", index, PACKET_MR_PROMISC, 0, b""))


def join_fanout(sock: socket.socket, mode: str, *, group: int | None, defragment: bool) -> int:
    """Share frames with the sockets of a group, of a new one without ``group``; gives the group's id.

    Raises OSError.
    """
    flags = FANOUT_MODES[mode] | (FANOUT_FLAG_DEFRAG if defragment else 0)
    # Without it the kernel takes the number as it is, and a group of another task that has it would share our frames.
    if group is None:
        flags |= FANOUT_FLAG_UNIQUEID
    sock.setsockopt(SOL_PACKET, PACKET_FANOUT, struct.pack("=I", (group or 0) | flags << 16))
    return sock.getsockopt(SOL_PACKET, PACKET_FANOUT) & 0xFFFF


def take_statistics(sock: socket.socket) -> tuple[int, int]:
    """Give ``(packets, drops)`` since the last call: ``struct tpacket_stats_v3``, where packets includes drops.

    Raises OSError.
    """
    packets, drops, _freezes = struct.unpack("=3I", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))
    return packets, drops


def hardware_type(sock: socket.socket, interface: str) -> int:
    """Give the interface's ARPHRD_ number. Raises OSError."""
    return _ask(sock, SIOCGIFHWADDR, interface)


def interface_flags(sock: socket.socket, interface: str) -> int:
    """Give the interface's IFF_ flags. Raises OSError."""
    return _ask(sock, SIOCGIFFLAGS, interface)


def interface_drops(interface: str) -> int:
    """Give what the interface dropped before a socket could see it, since it was made: ``drop`` of proc_pid_net(5), 0
    where it is not listed.
    """
    try:
        with open("/proc/self/net/dev", encoding="ascii", errors="replace") as table:
            for line in table:
                name, _, figures = line.partition(":")
                if name.strip() == interface:
                    return int(figures.split()[3])
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _ask(sock: socket.socket, request: int, interface: str) -> int:
    """Give the first 16 bits of what ``struct ifreq`` holds behind the name."""
    answer = fcntl.ioctl(sock.fileno(), request, struct.pack("16s24x", interface.encode()))
    return int(struct.unpack_from("=H", answer, 16)[0])


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
