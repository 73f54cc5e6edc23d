"""What is in deploy/ passes the linters of those who will run it: Kubernetes's own schemas, and hadolint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests import needs

DEPLOY = needs.ROOT / "deploy"
KUBERNETES = ("1.28", "1.34")
"""The oldest minor version that a provider still maintains, and a recent one."""


def manifests() -> list[Any]:
    found = [one for path in DEPLOY.glob("kubernetes/*.yaml") for one in yaml.safe_load_all(path.read_text())]
    assert found
    return found


def validate(document: Any, version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_key(version: str) -> None:
    for document in manifests():
        validate(document, version)


def test_a_misspelt_key_would_be_noticed() -> None:
    (daemons,) = [one for one in manifests() if one["kind"] == "DaemonSet"]
    daemons["spec"]["template"]["spec"]["hostNetworks"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="hostNetworks"):
        validate(daemons, KUBERNETES[-1])


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("hadolint")
    command = [program if program.exists() else needs.tool("hadolint"), "--no-color", "--failure-threshold", "info"]
    return subprocess.run([*command, path], capture_output=True, text=True, timeout=60, check=False)


def test_hadolint_finds_nothing_in_the_image() -> None:
    done = hadolint(DEPLOY / "docker" / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text((DEPLOY / "docker" / "Dockerfile").read_text().replace("3.12-slim", "latest"))
    assert "DL3007" in hadolint(tmp_path / "Dockerfile").stdout
