"""The options of the capturer ``pcap``."""

from __future__ import annotations

import otus_core


@otus_core.configuration
class PcapConfig:
    """Which files are read, and how."""

    files: list[str] | str = otus_core.option(
        example=["capture.pcap"],
        help="Capture files, read in this order, or one of them; `-` is standard input.",
        alias="file",
        min_length=1,
        max_length=4096,
    )
    speed: float = otus_core.option(
        default=0.0, ge=0.0, le=1_000_000.0, help="1 replays at the recorded pace, 2 twice as fast; 0 does not wait."
    )
    bpf_filter: str = otus_core.option(
        default="", max_length=8192, help="Take only frames that match this libpcap expression, `udp port 5060`."
    )
    bpf_fragments: bool = otus_core.option(
        default=True, help="The filter also lets through IP fragments, and what matches inside VLAN tags."
    )
