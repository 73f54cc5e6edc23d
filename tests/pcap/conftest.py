"""The corpora, as tests of capture files see them."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import attrs
import pytest

CORPORA = Path(os.environ.get("OTUS_CORPORA", Path(__file__).parents[3] / "shared" / "corpora"))


@attrs.frozen
class Capture:
    """One capture and what the manifest says of it."""

    path: Path
    packets: str


@pytest.fixture(scope="session")
def captures() -> list[Capture]:
    """Every capture of the corpora; skipped where they are absent, which in CI is an error."""
    if not CORPORA.is_dir() and not os.environ.get("CI"):
        pytest.skip("the corpora are not here (OTUS_CORPORA)")
    with (CORPORA / "MANIFEST.tsv").open(newline="", encoding="utf-8") as file:
        return [Capture(CORPORA / row["file"], row["packets"]) for row in csv.DictReader(file, delimiter="\t")]
