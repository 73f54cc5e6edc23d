"""The E-model against values that others published, and what is never said."""

from __future__ import annotations

import pytest

from otus_rtp.quality import MODELS, Model, opinion, rate
from tests.rtp.bench import MS, Bench, rtp

WITHOUT_CONCEALMENT: Model = (0.0, 4.3)

VECTORS = [
    ("pcmu", 0, 1, 93.20, 4.41),
    ("pcma", 1, 1, 89.56, 4.33),
    ("pcma", 2, 1, 86.19, 4.23),
    ("pcma", 5, 1, 77.42, 3.92),
    ("pcma", 10, 1, 66.13, 3.41),
    ("pcma", 5, 4, 75.17, 3.83),
    (None, 1, 1, 75.28, 3.83),
    (None, 5, 1, 42.12, 2.17),
    ("g729", 0, 1, 82.20, 4.10),
    ("g729", 5, 1, 64.70, 3.34),
]


@pytest.mark.parametrize(("codec", "loss", "burst", "r", "mos"), VECTORS)
def test_r_and_mos_are_those_of_the_e_model(codec: str | None, loss: float, burst: float, r: float, mos: float) -> None:
    model = MODELS[codec] if codec else WITHOUT_CONCEALMENT
    found = rate(model, loss, burst)
    assert (round(found, 2), round(opinion(found), 2)) == (r, mos)


@pytest.mark.parametrize(("r", "mos"), [(-5, 1.0), (0, 1.0), (1, 1.0), (100, 4.5), (120, 4.5)])
def test_the_opinion_stays_between_1_and_4_5(r: float, mos: float) -> None:
    assert opinion(r) == mos


def stream(count: int, *, payload_type: int = 0, **options: object) -> Bench:
    bench = Bench(**options)
    bench.call(codecs={0: "pcmu/8000", 111: "opus/48000/2"})
    for n in range(count):
        bench.take(rtp(n, n * 160 * (6 if payload_type == 111 else 1), payload_type=payload_type), n * 20 * MS)
    return bench


def test_a_stream_without_loss_has_the_best_opinion_of_its_codec() -> None:
    facts = stream(50).one()
    assert (facts["codec"], facts["r"], facts["mos"]) == ("pcmu", 93.2, 4.41)


def test_too_few_packets_have_no_opinion() -> None:
    assert stream(49).one()["mos"] is None


def test_a_codec_without_a_model_has_no_opinion_unless_one_is_configured() -> None:
    facts = stream(60, payload_type=111).one()
    assert (facts["codec"], facts["clock"], facts["r"], facts["mos"]) == ("opus", 48000, None, None)
    facts = stream(60, payload_type=111, models={"Opus": {"ie": 10, "bpl": 20}}).one()
    assert facts["r"] == 83.2


def test_a_payload_type_that_nobody_explained_has_neither_clock_nor_jitter() -> None:
    facts = stream(60, payload_type=97).one()
    assert (facts["codec"], facts["jitter_ms"], facts["mos"]) == (None, {"last": None, "mean": None, "max": None}, None)
    assert facts["delta_ms"] == {"min": 20.0, "mean": 20.0, "max": 20.0}


def test_without_an_rtpmap_clocks_are_those_of_rfc_3551() -> None:
    """G.722 has 8000 there, although it samples twice as often."""
    bench = Bench()
    bench.call(codecs={})
    for n in range(60):
        bench.take(rtp(n, n * 160, payload_type=9), n * 20 * MS)
    facts = bench.one()
    assert (facts["codec"], facts["clock"], facts["ptime"], facts["jitter_ms"]["max"]) == ("G722", 8000, 20.0, 0.0)
