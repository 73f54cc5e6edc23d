"""Declares the capturer ``pcap``."""

from collections.abc import Iterator

import otus_core
from otus_pcap.config import PcapConfig


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration]:
    """Declare the capturer."""
    yield otus_core.Capturer(
        name="pcap",
        factory="otus_pcap.capturer:PcapCapturer",
        config=PcapConfig,
        shardable=True,
        summary="Capture files: pcap and pcapng, plain or gzip; - is standard input",
        stability="beta",
    )
