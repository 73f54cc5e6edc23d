"""Settings of reporters: what has no effect is told, what cannot work is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.live.net import run_otus


def validate(folder: Path, *reporters: dict[str, Any]) -> tuple[int, str]:
    task = {"id": "t", "capture": {"type": "pcap", "files": ["/dev/null"]}, "reporters": reporters}
    (folder / "task.json").write_text(json.dumps(task))
    done = run_otus("validate", "-f", str(folder / "task.json"))
    return done.returncode, done.stdout + done.stderr


def test_settings_without_effect_are_told(tmp_path: Path) -> None:
    status, told = validate(tmp_path, {"type": "console", "send_timeout": "1m", "max_retries": 7}, {"type": "discard"})
    assert status == 0
    for key in ("send_timeout", "max_retries"):
        assert f"reporters[0].{key}: has no effect: console has its own time limits and retries" in told


def test_settings_with_effect_are_not(tmp_path: Path) -> None:
    status, told = validate(tmp_path, {"type": "discard", "send_timeout": "1m", "max_retries": 7})
    assert (status, "has no effect" in told) == (0, False)


def test_two_reporters_of_a_task_do_not_share_a_spool(tmp_path: Path) -> None:
    spools = [{"path": "/var/lib/x"}, {"path": "/var/lib/y/../x"}]
    status, told = validate(tmp_path, *({"type": "discard", "id": f"r{i}", "spool": s} for i, s in enumerate(spools)))
    assert status == 2
    assert "reporters[1].spool.path: is that of r0 already: give each its own folder" in told


def test_a_spool_has_an_absolute_path(tmp_path: Path) -> None:
    status, told = validate(tmp_path, {"type": "discard", "spool": {"path": "spool"}})
    assert status == 2 and "reporters[0].spool.path" in told


def test_a_spool_that_another_process_uses_fails_the_task_with_its_number(tmp_path: Path) -> None:
    import os

    from otus_core.pipeline.spool import Spool, SpoolLimits

    mine = Spool(tmp_path / "s", 0, 1, SpoolLimits(1 << 20, 60.0), on_lost=print, on_gone=print)
    mine.open()
    try:
        spool = {"path": str(tmp_path / "s")}
        task = {
            "id": "t",
            "capture": {"type": "pcap", "files": ["examples/call.pcap"]},
            "reporters": [{"type": "discard", "spool": spool}],
        }
        (tmp_path / "task.json").write_text(json.dumps(task))
        done = run_otus("run", "--task", str(tmp_path / "task.json"))
        assert done.returncode == 1
        assert f"in use by process {os.getpid()}" in done.stderr
    finally:
        mine.close()
