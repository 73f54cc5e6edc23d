"""The ratios that are kept in the repository, and what has become worse since.

They hold for the machine that they name. Another machine's caches and memory give other ratios: there, store them
before a change, and check after it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.measure import Ratio
from tests.needs import ROOT

FILE = Path(__file__).with_name("ratios.json")
PAGE = ROOT / "docs" / "speed.md"
WORSE = 0.9
"""A ratio below so much of the stored one fails."""
BEGIN, END = "<!-- ratios: written by nox -s bench -- --store -->\n", "<!-- end of ratios -->\n"


def key_of(row: str, peer: str) -> str:
    """Name a comparison."""
    return f"{row} / {peer}"


def read() -> dict[str, Any]:
    """Give what is stored: ``machine``, and ``ratios`` with each comparison's median and extremes."""
    stored: dict[str, Any] = json.loads(FILE.read_text())
    return stored


def store(found: Mapping[str, Ratio]) -> None:
    """Keep what was measured, other comparisons as they are, and write the table of the page."""
    before = read()["ratios"] if FILE.exists() else {}
    now = {
        key: [float(f"{one:.3g}") for one in (ratio.median, ratio.least, ratio.most)] for key, ratio in found.items()
    }
    stored = {"machine": machine(), "ratios": {**before, **now}}
    FILE.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(head + BEGIN + table(stored) + END + rest.partition(END)[2])


def table(stored: Mapping[str, Any]) -> str:
    """Give the page's table of stored ratios."""
    lines = [f"Measured on: {stored['machine']}.\n\n", "| measured | beside | times as fast | runs from … to |\n"]
    lines.append("|---|---|---|---|\n")
    for key, (median, least, most) in stored["ratios"].items():
        row, _, peer = key.partition(" / ")
        lines.append(f"| {row} | {peer} | {median:.3g} | {least:.3g} … {most:.3g} |\n")
    return "".join(lines)


def worse(found: Mapping[str, Ratio], stored: Mapping[str, Any]) -> list[str]:
    """Name the comparisons that are more than a tenth below what is stored."""
    ratios = stored["ratios"]
    return [key for key, ratio in found.items() if key in ratios and ratio.median < WORSE * ratios[key][0]]


def machine() -> str:
    """Name this machine's processor, cores and interpreter."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    cores = sum(line.startswith("processor") for line in lines)
    return f"{model}, {cores} cores, Python {platform.python_version()}"
