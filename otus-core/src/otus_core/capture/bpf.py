"""Compiles libpcap filter expressions to classic BPF.

In: an expression as pcap-filter(7) describes it. Out: the program as packed ``struct sock_filter``s, which a socket
takes as it is and which a reader of files runs itself. libpcap comes with ``cypcap`` where that has a wheel; elsewhere
the system's own library is asked.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import struct
from collections.abc import Sequence
from importlib import import_module

from otus_core.errors import BpfInvalid

INSTRUCTION_FORMAT = "=HBBI"
"""``struct`` format of one instruction: code, jt, jf, k (linux/filter.h, ``struct sock_filter``)."""
EXPRESSION_MAX = 8192
"""libpcap's parser recurses and its optimizer is quadratic: a filter that a person wrote is far below this."""
JUMP_ALWAYS = 0x05
"""BPF_JMP | BPF_JA, the one jump that is long enough to lead back."""
SNAPLEN = 262144
"""What an accepting program returns: libpcap's MAXIMUM_SNAPLEN."""
NETMASK_UNKNOWN = 0xFFFFFFFF
ERRBUF_SIZE = 256
"""PCAP_ERRBUF_SIZE (pcap.h)."""
DLT = {100: 11, 101: 12, 102: 15, 103: 16, 106: 19}
"""LINKTYPE_ numbers that the DLT_ numbers of libpcap on Linux differ from (pcap/dlt.h): LINKTYPE_RAW is DLT_RAW, 12."""
TAGGED_LINK_TYPES = frozenset({1})
"""LINKTYPE_ numbers whose frames can carry VLAN tags that libpcap's ``vlan`` looks for."""

_FRAGMENT = "(ip[6:2] & 0x1fff != 0) or (ip6[6] = 44)"


def compile_bpf(expression: str, link_type: int = 1, *, widen: bool = False, interface: str = "") -> bytes:
    """Compile an expression for frames of a link type; gives packed ``sock_filter``s. Raises BpfInvalid.

    ``widen`` also lets later IP fragments through, which hold no ports, and what matches inside one or two VLAN tags.
    Names of hosts in the expression are looked up, so use addresses where that must not wait. ``interface`` makes a
    program for sockets, which finds the VLAN tags that the kernel has taken out of frames; it needs CAP_NET_RAW and an
    interface that is up, and raises OSError otherwise.
    """
    _check(expression)
    compiled = _compile(expression, link_type, interface)  # as given first: an error speaks of what the user wrote
    if widen and expression.strip():
        compiled = _compile(_widen(expression, link_type), link_type, interface)
    _check_loops(expression, compiled)
    return b"".join(struct.pack(INSTRUCTION_FORMAT, *instruction) for instruction in compiled)


def _check(expression: str) -> None:
    if len(expression) > EXPRESSION_MAX:
        raise BpfInvalid(expression, f"it is longer than {EXPRESSION_MAX} characters")
    if not expression.isascii() or not expression.isprintable():
        raise BpfInvalid(expression, "only printable ASCII characters are allowed")


def _check_loops(expression: str, compiled: Sequence[tuple[int, int, int, int]]) -> None:
    # `protochain` jumps back (pcap-filter(7)), by an offset that wraps around. The kernel refuses that, and nothing
    # would bound it.
    if any(code == JUMP_ALWAYS and k >= len(compiled) for code, _, _, k in compiled):
        raise BpfInvalid(expression, "it needs a loop (`protochain` does), which a filter cannot have")


def _widen(expression: str, link_type: int) -> str:
    # `vlan` moves the offsets of everything after it in the expression, so the plain case comes first and each tag once
    # (pcap-filter(7)).
    plain = f"(({expression}) or {_FRAGMENT})"
    if link_type not in TAGGED_LINK_TYPES:
        return plain
    return f"{plain} or (vlan and ({plain} or (vlan and {plain})))"


def _compile(expression: str, link_type: int, interface: str) -> Sequence[tuple[int, int, int, int]]:
    dlt = DLT.get(link_type, link_type)
    try:
        cypcap = import_module("cypcap")
    except ImportError:
        return _compile_with_system(expression, dlt, interface)
    with cypcap.create(interface) if interface else cypcap.open_dead(dlt, SNAPLEN) as handle:
        if interface:
            try:
                handle.activate()
            except cypcap.Error as error:
                raise OSError(f"{interface}: {error.args[-1]}") from None
        try:
            return list(handle.compile(expression, True, NETMASK_UNKNOWN))
        except cypcap.Error as error:
            raise BpfInvalid(expression, str(error.args[-1])) from None


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction)))


def _compile_with_system(expression: str, dlt: int, interface: str) -> Sequence[tuple[int, int, int, int]]:
    pcap = _system_libpcap()
    reason = ctypes.create_string_buffer(ERRBUF_SIZE)
    handle = pcap.pcap_create(interface.encode(), reason) if interface else pcap.pcap_open_dead(dlt, SNAPLEN)
    if not handle:
        raise OSError(f"{interface}: {reason.value.decode(errors='replace')}")
    program = _Program()
    try:
        if interface and pcap.pcap_activate(handle) < 0:
            raise OSError(f"{interface}: {pcap.pcap_geterr(handle).decode(errors='replace')}")
        if pcap.pcap_compile(handle, ctypes.byref(program), expression.encode(), 1, NETMASK_UNKNOWN) != 0:
            raise BpfInvalid(expression, pcap.pcap_geterr(handle).decode(errors="replace"))
        compiled = program.instructions[: program.length]
        found = [(i.code, i.jt, i.jf, i.k) for i in compiled]
        pcap.pcap_freecode(ctypes.byref(program))
        return found
    finally:
        pcap.pcap_close(handle)


def _open_libpcap() -> ctypes.CDLL:
    # By the names that libpcap and Debian's libpcap give it; asking find_library first would start a compiler, where
    # there is one, and finds nothing where there are no tools.
    for name in ("libpcap.so.1", "libpcap.so.0.8", ctypes.util.find_library("pcap")):
        with contextlib.suppress(OSError):
            if name is not None:
                return ctypes.CDLL(name)
    raise BpfInvalid("", "filters need libpcap: install otus-core[bpf], or the system's libpcap")


def _system_libpcap() -> ctypes.CDLL:
    pcap = _open_libpcap()
    pcap.pcap_open_dead.restype = ctypes.c_void_p
    pcap.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
    pcap.pcap_create.restype = ctypes.c_void_p
    pcap.pcap_create.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    pcap.pcap_activate.argtypes = (ctypes.c_void_p,)
    pcap.pcap_compile.argtypes = (
        ctypes.c_void_p,
        ctypes.POINTER(_Program),
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint32,
    )
    pcap.pcap_geterr.restype = ctypes.c_char_p
    pcap.pcap_geterr.argtypes = (ctypes.c_void_p,)
    pcap.pcap_freecode.argtypes = (ctypes.POINTER(_Program),)
    pcap.pcap_close.argtypes = (ctypes.c_void_p,)
    return pcap
