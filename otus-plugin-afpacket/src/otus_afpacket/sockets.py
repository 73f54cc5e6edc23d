"""Opens packet sockets: the part that needs CAP_NET_RAW.

What it gives is ready: ring, filter, bound, in its fanout group.

The order matters. Made with protocol 0 and with a filter that takes nothing, a socket queues nothing of other
interfaces before it is bound and nothing twice before it has joined its group; only then comes the filter that was
asked for.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

import attrs

import otus_core
from otus_afpacket import kernel, program
from otus_afpacket.config import AfpacketConfig
from otus_core import CaptureError

ANY = "any"
# www.tcpdump.org/linktypes.html
LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101
ETHERNET_LIKE = frozenset({kernel.ARPHRD_ETHER, kernel.ARPHRD_LOOPBACK})
PAGE_SIZE = 4096
"""The kernel wants blocks of whole pages (packet_set_ring in net/packet/af_packet.c)."""


@attrs.define
class Group:
    """The fanout group that a task's shards have joined so far.

    A shard that comes again starts a new one: the old sockets are deaf.
    """

    index: int
    number: int
    shards: set[int]


def acquire(config: AfpacketConfig, shard: int, shards: int, state: dict[str, Any]) -> list[int]:
    """Give one shard's socket.

    Raises CaptureError (not fatal while the interface is absent or down), OSError and BpfInvalid.
    """
    check_ring(config)
    index = index_of(config.interface)
    try:
        with _open(config.interface) as sock:
            _prepare(sock, config, index, shard, shards, state)
            return [sock.detach()]
    except OSError as error:
        raise _explain(config, error) from None


def check_ring(config: AfpacketConfig) -> None:
    """See to it that the kernel can make the ring. Raises CaptureError."""
    if config.block_size % PAGE_SIZE:
        raise CaptureError(config.interface, f"block_size {config.block_size} is not a multiple of {PAGE_SIZE}")
    if config.block_size * config.block_count >= 1 << 31:
        raise CaptureError(config.interface, "block_size times block_count is 2 GiB or more: a ring must be smaller")


def index_of(interface: str) -> int:
    """Give the interface's index, 0 for ``any``.

    Raises CaptureError, which is not fatal, when there is none of that name.
    """
    if interface == ANY:
        return 0
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        there = ", ".join(sorted(name for _, name in socket.if_nameindex())[:16])
        raise CaptureError(interface, f"there is no such interface (there are {there})", fatal=False) from None


def filtered_link_type(sock: socket.socket) -> int:
    """Give what a filter on this socket sees: a cooked one's frames begin with their IP header."""
    return LINKTYPE_RAW if is_cooked(sock) else LINKTYPE_ETHERNET


def is_cooked(sock: socket.socket) -> bool:
    """Whether frames come without their link layer: those of ``any``, and of interfaces that are not like Ethernet."""
    return sock.type == socket.SOCK_DGRAM


def _open(interface: str) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        if interface != ANY and kernel.hardware_type(raw, interface) in ETHERNET_LIKE:
            return raw
    except OSError:
        raw.close()
        raise
    raw.close()
    return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)


def _prepare(
    sock: socket.socket, config: AfpacketConfig, index: int, shard: int, shards: int, state: dict[str, Any]
) -> None:
    wanted = _program(sock, config, index)
    kernel.attach(sock, program.NOTHING)
    kernel.set_ring(sock, config.block_size, config.block_count, config.block_timeout_ms)
    if config.ignore_outgoing:
        sock.setsockopt(kernel.SOL_PACKET, kernel.PACKET_IGNORE_OUTGOING, 1)
    kernel.bind(sock, index)
    if config.promiscuous and index:
        kernel.set_promiscuous(sock, index)
    if shards > 1:
        _join(sock, config, index, shard, state)
    kernel.attach(sock, wanted)
    sock.setblocking(False)


def _program(sock: socket.socket, config: AfpacketConfig, index: int) -> bytes:
    """Compile the user's filter, and leave out what leaves by the loopback interface, for it comes back."""
    expression = config.bpf_filter.strip()
    link_type = filtered_link_type(sock)
    if expression:
        tagged = config.interface if program.mentions_vlan(expression) and link_type == LINKTYPE_ETHERNET else ""
        compiled = otus_core.compile_bpf(expression, link_type, widen=config.bpf_fragments, interface=tagged)
        compiled = program.cut(compiled, config.snap_len)
    else:
        compiled = program.accept(config.snap_len)
    loopback = _loopback_index(sock, config.interface, index)
    return program.put_guard_before(program.outgoing_on(loopback), compiled) if loopback else compiled


def _loopback_index(sock: socket.socket, interface: str, index: int) -> int:
    """Give the index of the loopback interface if frames of it can come, else 0."""
    if interface != ANY:
        return index if kernel.hardware_type(sock, interface) == kernel.ARPHRD_LOOPBACK else 0
    for other, name in socket.if_nameindex():
        if kernel.hardware_type(sock, name) == kernel.ARPHRD_LOOPBACK:
            return other
    return 0


def _join(sock: socket.socket, config: AfpacketConfig, index: int, shard: int, state: dict[str, Any]) -> None:
    group: Group | None = state.get("group")
    joins = group is not None and group.index == index and shard not in group.shards
    number = group.number if joins and group is not None else None
    got = kernel.join_fanout(sock, config.fanout_mode, group=number, defragment=config.fanout_defrag)
    if joins and group is not None:
        group.shards.add(shard)
    else:
        state["group"] = Group(index, got, {shard})


def _explain(config: AfpacketConfig, error: OSError) -> CaptureError:
    """Say what the user can do about what the kernel refused."""
    size = config.block_size * config.block_count >> 20
    privilege = "capturing needs CAP_NET_RAW: run as root, or give the capability to the service"
    reasons = {
        errno.ENOMEM: f"the kernel has no room for a ring of {size} MiB: make block_count or block_size smaller",
        errno.EPERM: privilege,
        errno.EACCES: privilege,
    }
    gone = error.errno in (errno.ENODEV, errno.ENXIO, errno.ENETDOWN)
    reason = reasons.get(error.errno or 0) or error.strerror or str(error)
    down = error.errno is None  # libpcap says in words that the interface is down
    return CaptureError(config.interface, reason, fatal=not (gone or down))
