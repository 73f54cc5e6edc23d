"""Options of the parser ``rtp``."""

from __future__ import annotations

import otus_core


@otus_core.configuration
class ModelConfig:
    """What the E-model needs to know of a codec (ITU-T G.113)."""

    ie: float = otus_core.option(ge=0, le=95, help="Ie: the impairment by the codec itself")
    bpl: float = otus_core.option(gt=0, le=100, help="Bpl: how well it bears the loss of packets")


@otus_core.configuration
class RtpConfig:
    """Which packets count as RTP, and what is told of streams."""

    interval: otus_core.Duration = otus_core.option(
        default=0.0, ge=0, le=86400, help="Report streams that are under way each so often; 0 reports them at their end"
    )
    idle_timeout: otus_core.Duration = otus_core.option(
        default=60.0, ge=1, le=86400, help="A stream ends when this much packet time has passed without a packet"
    )
    max_streams: int = otus_core.option(
        default=65536,
        ge=1,
        le=1_000_000,
        help="Streams that are followed at a time, with about 4 KiB of memory each; the one that has been silent "
        "longest is reported and forgotten for another",
    )
    packets: bool = otus_core.option(default=False, help="Report each RTP packet too, with the payload type rtp")
    guess: bool = otus_core.option(
        default=False, help="Follow what looks like RTP for six packets in a row although no call announced it"
    )
    mask_dtmf: bool = otus_core.option(default=True, help="Show digits that were dialled during a call (RFC 4733) as x")
    models: dict[str, ModelConfig] = otus_core.option(
        factory=dict, help="Codecs for the E-model by name, such as opus, beside PCMU, PCMA, G729, G723 and GSM-EFR"
    )
