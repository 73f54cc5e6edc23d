"""What a command imports decides how long it takes to start: modules that it does not need are not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.needs import ROOT

CALL = str(ROOT / "examples" / "call.pcap")
CODE = """
import atexit, sys
atexit.register(lambda: print("\\n".join(sys.modules), file=sys.stderr))
from otus_core.cli import main
sys.exit(main(sys.argv[1:]))
"""
# What takes long to import, and is for something else than reading a file in one process.
NOT_OF_A_FILE = (
    "aiokafka",
    "email",
    "importlib.metadata",
    "importlib_metadata",
    "otus_core.config.load",
    "otus_core.control",
    "otus_core.daemon",
    "otus_core.observe",
    "otus_core.plugins.look",
    "otus_core.process.channel",
    "otus_core.process.messages",
    "otus_core.supervise",
    "otus_core.worker.child",
    "otus_core.worker.taps",
    "otus_kafka.reporter",
    "packaging",
    "prometheus_client",
    "rich",
    "structlog",
    "yaml",
    "zipfile",
)
NOT_OF_HELP = ("aiokafka", "asyncio", "cattrs", "importlib_metadata", "otus_core.worker", "otus_sip", "rich", "yaml")


def imported(*arguments: str) -> list[str]:
    """Run ``otus`` in a process of its own, and give what that has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stderr.split("\n")


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (("run", CALL, "-q"), NOT_OF_A_FILE),
        (("run", CALL, "-q", "--format", "json"), (*NOT_OF_A_FILE, "otus_core.pipeline.discard")),
        (("run", CALL, "-q", "--parser", "sip", "--format", "none"), (*NOT_OF_A_FILE, "otus_rtp.parser")),
        (("--help",), NOT_OF_HELP),
    ],
    ids=["text", "json", "none", "help"],
)
def test_a_command_imports_nothing_that_it_does_not_need(arguments: tuple[str, ...], unneeded: tuple[str, ...]) -> None:
    found = imported(*arguments)
    assert "otus_core.cli.app" in found
    assert [name for name in unneeded if name in found] == []
