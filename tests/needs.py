"""What a test needs from the machine. Without it the test is skipped, but not in CI: there it fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

import otus_core

ROOT = Path(__file__).parents[1]
CORPORA = Path(os.environ.get("OTUS_CORPORA", ROOT.parent / "shared" / "corpora"))


def lacking(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; CI must have it", pytrace=False)
    pytest.skip(reason)


def tool(name: str) -> str:
    """Give the path of a program."""
    return shutil.which(name) or lacking(f"{name} is not installed (see CONTRIBUTING.md)")


def root() -> None:
    """See to it that the test runs as root."""
    if os.geteuid() != 0:
        lacking("needs root")


def wheels() -> None:
    """See to it that Otus is installed from wheels; a development environment points to the sources instead."""
    if Path(otus_core.__file__).is_relative_to(ROOT / "otus-core"):
        lacking("Otus is installed in editable form (see `nox -s wheels`)")


def corpora() -> Path:
    """Give the folder of captures, which is not part of the repository."""
    return CORPORA if CORPORA.is_dir() else lacking(f"no captures in {CORPORA} (OTUS_CORPORA names another folder)")


def field() -> Path:
    """Give the folder of captures made after users' reports, which lies beside the corpora."""
    folder = CORPORA.parent / "field"
    return folder if folder.is_dir() else lacking(f"no captures in {folder}")
