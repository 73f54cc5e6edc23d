"""Every reason for which the core itself drops what a reporter could not send is one that can happen: no counter is
there in vain.
"""

from __future__ import annotations

from pathlib import Path

from tests.core.plugins.distributions import Site
from tests.deploy.moody import PARTS, PLUGIN
from tests.e2e.node import Node
from tests.patience import wait

MOODS = {"raising": "exception", "slow": "ambiguous", "nonsense": "invalid", "odd": "other"}
PREFIX = "report_error:"


def counted(node: Node) -> dict[str, float]:
    """Give what all reporters dropped, by reason."""
    found: dict[str, float] = {}
    for (name, labels), value in node.metrics().items():
        reason = dict(labels).get("reason", "")
        if name == "otus_reporter_dropped_total" and reason.startswith(PREFIX):
            found[reason.removeprefix(PREFIX)] = found.get(reason.removeprefix(PREFIX), 0) + value
    return found


def test_every_reason_that_is_exported_can_count(node: Node, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    Site(folder=site).install("otus-plugin-moody", PLUGIN, modules={"moody_parts": PARTS})
    node.start(PYTHONPATH=str(site))
    for mood in MOODS:
        folder = tmp_path / mood
        folder.mkdir()
        (folder / mood).touch()
        options = {"folder": str(folder)}
        reporter = {"type": "moody", "config": options, "send_timeout": "100ms", "max_retries": 0}
        capture = {"type": "moody", **options}
        parsers = [{"type": "moody", "config": options}]
        answer = node.rpc(
            "task_create", config={"id": mood, "capture": capture, "parsers": parsers, "reporters": [reporter]}
        )
        assert "result" in answer, answer
    wait(lambda: all(counted(node).get(reason) for reason in MOODS.values()), what="each of them counts")
    assert set(counted(node)) == set(MOODS.values())
