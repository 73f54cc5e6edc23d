"""The ratios that ``nox -s bench -- --check`` compares with: what fails, and what the page says of them."""

from __future__ import annotations

import pytest

from tests.bench import __main__ as bench
from tests.bench import beside, stored
from tests.bench.measure import Ratio
from tests.needs import ROOT

KEPT = {"machine": "a machine", "ratios": {"text / tcpdump -nn -v": [3.0, 2.9, 3.1], "JSON / dpkt": [7.0, 6.9, 7.1]}}


def ratio(median: float) -> Ratio:
    return Ratio.of([median])


def test_a_ratio_more_than_a_tenth_below_the_stored_one_is_worse() -> None:
    found = {"text / tcpdump -nn -v": ratio(2.71), "JSON / dpkt": ratio(6.29), "a new row / dpkt": ratio(0.1)}
    assert stored.worse(found, KEPT) == ["JSON / dpkt"]


@pytest.mark.parametrize(("later", "status"), [([2.0, 2.0], 1), ([2.0, 2.8], 0)], ids=["a fault", "a busy machine"])
def test_the_check_fails_where_a_row_stays_worse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], later: list[float], status: int
) -> None:
    answers = iter([2.0, *later])
    monkeypatch.setattr(stored, "read", lambda: KEPT)
    monkeypatch.setattr(bench, "_install", lambda *_: None)
    monkeypatch.setattr(bench, "measure", lambda _: {"text / tcpdump -nn -v": ratio(next(answers))})
    assert bench.main(["--check", "text"]) == status
    assert ("FAIL  text / tcpdump -nn -v" in capsys.readouterr().out) == bool(status)


def test_every_row_has_a_stored_ratio_and_the_page_shows_them() -> None:
    kept = stored.read()
    rows = {key.partition(" / ")[0] for key in kept["ratios"]}
    assert set(bench.every_name()) == rows
    assert stored.table(kept) in (ROOT / "docs" / "speed.md").read_text()


def test_a_peer_that_is_not_installed_is_left_out() -> None:
    row = beside.Row("text", ("run",), "sip", (beside.Peer(("no-such-program",)),))
    assert beside.compare([row], lambda *_: None) == {}
