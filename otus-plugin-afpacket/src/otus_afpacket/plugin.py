"""Declares the capturer ``afpacket``."""

from collections.abc import Iterator

import otus_core


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration]:
    """Declare the capturer."""
    yield otus_core.Capturer(
        name="afpacket",
        factory="otus_afpacket.capturer:AfpacketCapturer",
        config="otus_afpacket.config:AfpacketConfig",
        live=True,
        shardable=True,
        privileged=True,
        summary="Network interfaces, live: a ring shared with the kernel (AF_PACKET, TPACKET_V3)",
        stability="beta",
    )
