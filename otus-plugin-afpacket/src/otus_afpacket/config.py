"""The options of the capturer ``afpacket``."""

from __future__ import annotations

from typing import Literal

import otus_core

SNAP_LEN_MAX = 262_144
"""libpcap's MAXIMUM_SNAPLEN; no frame comes near it."""
BLOCK_SIZE_MIN = 131_072
"""A block must hold the largest frame whole: 64 KiB of a defragmented datagram, and its headers."""
BLOCK_SIZE_MAX = 4 << 20
"""2^10 pages, the largest piece that the kernel's page allocator has; the ring is made of such pieces
(alloc_one_pg_vec_page in net/packet/af_packet.c).
"""


@otus_core.configuration
class AfpacketConfig:
    """Which interface is captured from, and how."""

    interface: str = otus_core.option(
        example="eth0", help="Interface to capture from, `any` for all of them.", pattern=r"[^\s/:]{1,15}", min_length=1
    )
    bpf_filter: str = otus_core.option(
        default="", max_length=8192, help="Take only frames that match this libpcap expression, `udp port 5060`."
    )
    bpf_fragments: bool = otus_core.option(
        default=True, help="The filter also lets through IP fragments, and what matches inside VLAN tags."
    )
    snap_len: int = otus_core.option(
        default=SNAP_LEN_MAX, ge=64, le=SNAP_LEN_MAX, help="Bytes of a frame that are taken; the rest is cut off."
    )
    promiscuous: bool = otus_core.option(
        default=True, help="Take frames that are not meant for this machine too; `any` does not."
    )
    ignore_outgoing: bool = otus_core.option(default=False, help="Do not take frames that this machine sends.")
    exclude_own: bool = otus_core.option(
        default=True,
        help="Do not take the TCP connections that Otus itself opened or accepted: broker, metrics, log shipping.",
    )
    fanout_mode: Literal["hash", "cpu", "lb", "rollover", "qm"] = otus_core.option(
        default="hash", help="How several workers share the frames; hash keeps each flow in one worker."
    )
    fanout_defrag: bool = otus_core.option(
        default=True, help="With several workers the kernel puts IPv4 fragments together before it shares them out."
    )
    block_size: int = otus_core.option(
        default=256 << 10,
        ge=BLOCK_SIZE_MIN,
        le=BLOCK_SIZE_MAX,
        help="Bytes of one block of the ring; a multiple of 4096.",
    )
    block_count: int = otus_core.option(
        default=256, ge=4, le=16_384, help="Blocks of the ring; each worker has a ring of its own."
    )
    block_timeout_ms: int = otus_core.option(
        default=20, ge=1, le=1000, help="Milliseconds after which a block is handed over that is not full."
    )
