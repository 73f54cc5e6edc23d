"""Somebody reads slowly what ``otus run`` prints, as a pager does: that is no fault of a component."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.live.net import OTUS
from tests.needs import ROOT


@pytest.mark.parametrize("shape", ["text", "json"])
def test_a_reader_who_takes_a_while_is_waited_for_without_a_word(shape: str) -> None:
    command = [OTUS, "run", *[str(ROOT / "examples" / "office.pcap.gz")] * 8, "--format", shape]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.readline()  # it prints, until the pipe is full
        time.sleep(0.5)
        lines = 1 + sum(1 for _ in run.stdout)
        told = run.stderr.read()
    assert run.returncode == 0
    assert "component_error" not in told
    assert lines >= 1000, "more than a pipe takes, or nobody has waited"
