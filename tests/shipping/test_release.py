"""What can be said of a release without building it: versions, ranges and changelog; the workflow that publishes it;
and that nobody is told to install what is not published.
"""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipping import release
from tests import needs

WORKFLOW = needs.ROOT / ".github" / "workflows" / "release.yml"
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "deploy/*.md", "otus-*/README.md", "otus-*/src/**/*.tmpl", "otus-*/man/*")
    for path in needs.ROOT.glob(pattern)
)


def test_the_distributions_agree() -> None:
    assert release.faults_of_metadata() == []


def test_what_disagrees_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = release.project

    def changed(name: str) -> dict[str, Any]:
        one = sound(name)
        if name == "otus-plugin-sip":
            return {**one, "version": "0.2.0", "dependencies": ["otus-core>=0.2,<0.3"], "readme": None}
        return one

    monkeypatch.setattr(release, "project", changed)
    told = "\n".join(release.faults_of_metadata())
    assert "otus-plugin-sip: no readme" in told
    assert "otus-plugin-sip: version 0.2.0, the core's is" in told
    assert "otus-plugin-sip: requires otus-core<0.3,>=0.2" in told


def test_every_dependency_has_a_licence_that_is_allowed() -> None:
    found = release.installed()
    assert len(found) > 20
    assert release.faults_of_licences(found) == []
    bill = release.bill_of_materials(found)
    known = {part["bom-ref"] for part in bill["components"]}
    assert {ref for one in bill["dependencies"] for ref in one["dependsOn"]} <= known


def sdist(path: Path, time: int, names: tuple[str, ...]) -> bytes:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.mtime, entry.uid, entry.uname, entry.size = time, time % 100, f"user{time}", 2
            archive.addfile(entry, io.BytesIO(b"x\n"))
    return release.normalize(path)


def test_an_sdist_is_the_same_whoever_builds_it_and_when(tmp_path: Path) -> None:
    assert sdist(tmp_path / "a.tar.gz", 1, ("p/a", "p/b")) == sdist(tmp_path / "b.tar.gz", 999, ("p/b", "p/a"))


def test_the_workflow_publishes_by_trust_and_not_by_password() -> None:
    text = WORKFLOW.read_text()
    workflow = yaml.safe_load(text)
    publish = workflow["jobs"]["publish"]
    assert workflow["permissions"] == {"contents": "read"}
    assert publish["permissions"]["id-token"] == "write" and publish["environment"] == "release"
    assert set(publish["needs"]) == set(workflow["jobs"]) - {"publish"}
    assert "secrets." not in text and "password" not in str(workflow)
    (index,) = [step for step in publish["steps"] if "pypi-publish" in step.get("uses", "")]
    assert index["with"]["attestations"] is True


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(needs.ROOT)))
def test_nobody_is_told_to_install_what_is_not_published(path: Path) -> None:
    """Ours are installed from a clone or from files, or the line says of where they come."""
    named = [
        line
        for line in path.read_text().splitlines()
        for found in re.findall(r"pip install ([^`#\n]*)", line)
        if re.search(r"(?<![./\w-])'?otus-(core|plugin)[\w-]*(\[\w+\])?'?(?![\w./-])", found)
        and not re.search(r"-e |--find-links|clone", line)
    ]
    assert named == []


def test_no_message_names_a_distribution_for_pip_that_may_not_be_published() -> None:
    """What is put into a message may be a name of ours, or a third party's."""
    said = [
        f"{path.name}: {line.strip()}"
        for path in needs.ROOT.glob("otus-*/src/**/*.py")
        for line in path.read_text().splitlines()
        if re.search(r"pip install (?:--?[\w-]+ )*(?:\{|otus-)", line) and "{wheel}" not in line
    ]
    assert said == []
