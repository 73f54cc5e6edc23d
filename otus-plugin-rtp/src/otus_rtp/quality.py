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
"""By the name of RFC 3551 in lower case, from ITU-T G.113 (09/2024), appendix I, table I.4, which has both for five
cases: G.711 in packets of 10 ms with the concealment of G.711 appendix I, as telephones have it, and without, which is
(0, 4.3); G.729 annex A with VAD in packets of 20 ms; G.723.1 at 6.3 kbit/s with VAD in packets of 30 ms; GSM-EFR in
packets of 20 ms. The Recommendation itself could not be read here: the values are those that others quote from this
table by its number.

No other codec has a model. Tables I.1 to I.3 have an Ie and no Bpl, so they say nothing once packets are lost. Wideband
codecs (G.722, AMR-WB) have theirs in appendix IV, on the scale of G.107.1, whose best R is 129: they cannot stand
beside these. Opus is in neither."""


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
