"""Declares the capturer ``pcap``."""

from collections.abc import Iterator

import otus_core


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration]:
    """Declare the capturer."""
    yield otus_core.Capturer(
        name="pcap",
        factory="otus_pcap.capturer:PcapCapturer",
        config="otus_pcap.config:PcapConfig",
        shardable=True,
        summary="Capture files: pcap and pcapng, plain or gzip; - is standard input",
        stability="beta",
    )
