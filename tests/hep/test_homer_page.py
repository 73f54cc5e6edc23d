"""The page about Homer: its task is valid, and the options that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from otus_hep.config import HepReporterConfig
from tests.e2e.test_run import otus
from tests.needs import ROOT

PAGE = (ROOT / "docs" / "homer.md").read_text()


def test_the_task_is_valid(tmp_path: Path) -> None:
    (task,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "homer.yaml"
    path.write_text(task)
    done = otus("validate", "-f", path)
    assert b"unknown" not in done.stdout + done.stderr
    # On the test's machine there may be no key file, which is a warning
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reporters_options_are_all_there() -> None:
    names = {field.name for field in attrs.fields(HepReporterConfig)} - {
        "record_kind",
        "timeout",
        "settle",
        "retry_after",
    }
    missing = {name for name in names if f"`{name}" not in PAGE and f"{name}:" not in PAGE}
    assert not missing, missing
