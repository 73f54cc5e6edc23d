"""Declares the parser ``rtpwatch``. Light: what works is imported when it is used."""

from collections.abc import Iterator

import otus_core


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration]:
    yield otus_core.Parser(
        name="rtpwatch",
        factory="otus_rtpwatch.parser:RtpwatchParser",
        config="otus_rtpwatch.parser:RtpwatchConfig",
        payload_types=("rtpwatch",),
        wants_flows=True,
        call_label="rtpwatch.call_id",
        labels=("rtpwatch.call_id", "rtpwatch.ssrc", "rtpwatch.codec"),
        counters=("evicted",),
        summary="Loss and jitter of each RTP stream (RFC 3550), as a record when it has ended",
    )
