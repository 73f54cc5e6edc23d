"""The E-model (ITU-T G.107): what listeners would say of a stream, from what was lost of it."""

from __future__ import annotations

from collections.abc import Mapping

R_BEST = 93.2
"""R of a connection with all defaults and no impairment by equipment (G.107, table 3 and §7.7)."""
IMPAIRMENT_WORST = 95.0
"""What Ie,eff approaches when everything is lost (G.107 §7.5)."""

Model = tuple[float, float]
"""Ie, the impairment by the codec itself, and Bpl, its robustness against loss."""

MODELS: Mapping[str, Model] = {
    "pcmu": (0.0, 25.1),
    "pcma": (0.0, 25.1),
    "g729": (11.0, 19.0),
    "g723": (15.0, 16.1),
    "gsm-efr": (5.0, 10.0),
}
"""By the name of RFC 3551 in lower case: G.113 appendix I, for G.711 with concealment of loss (its appendix I), which
telephones have; for G.729 that of annex A with VAD, for G.723.1 that of 6.3 kbit/s with VAD. G.711 without concealment
has (0, 4.3). Codecs that the table has no Bpl for have no model. Programs that quote the table (the RTCP XR metrics of
OPAL, and others) have the same values, those of GSM-EFR too."""


def rate(model: Model, loss_pct: float, burst_ratio: float = 1.0) -> float:
    """Give R, from the percentage of packets that do not get played (G.107 §7.5, formula 7-29)."""
    ie, bpl = model
    if loss_pct <= 0:
        return R_BEST - ie
    return R_BEST - (ie + (IMPAIRMENT_WORST - ie) * loss_pct / (loss_pct / burst_ratio + bpl))


def opinion(r: float) -> float:
    """Give the mean opinion score that R stands for (G.107 annex B, formula B-4)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)
