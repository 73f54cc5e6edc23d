"""Runs a contract suite on a class of this process, and gives which of its tests fail."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from otus_core.declarations import Declaration
from otus_core.testing.contract.component import Contract


def failing(suite: type[Contract], declaration: Declaration, folder: Path, **about: Any) -> set[str]:
    """Run every test of a suite that concerns this component; gives the names of those that fail.

    ``about`` are attributes of the suite; a fixture of the test's is an argument by its name.
    """
    body: Mapping[str, Any] = {"declaration": declaration, "component": declaration.name, **about}
    cls = type(suite.__name__, (suite,), dict(body))
    failed = set()
    for name in dir(cls):
        if not name.startswith("test_"):
            continue
        test: Callable[..., Any] = getattr(cls(), name)
        fixtures = {"tmp_path": folder} if "tmp_path" in inspect.signature(test).parameters else {}
        try:
            test(**fixtures)
        except pytest.skip.Exception:
            continue
        except (Exception, pytest.fail.Exception):
            failed.add(name)
    return failed
