"""The labels of streams and of RTCP packets."""

from __future__ import annotations

LABELS = (
    "rtp.call_id",
    "rtp.ssrc",
    "rtp.codec",
    "rtp.match",
    "rtp.nat",
    "rtp.packets",
    "rtp.lost",
    "rtp.loss_pct",
    "rtp.jitter_ms",
    "rtp.mos",
    "rtp.ended",
    "rtp.payload_type",
    "rtp.sequence",
    "rtp.rtcp",
    "rtp.encrypted",
)
"""All labels. ``rtp.jitter_ms`` is the mean; one that nobody can know is missing."""
