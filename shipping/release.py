"""Checks what would be published, and makes it: ``python -m shipping.release OUT WHEEL...``.

In: wheels, and the environment in which they are installed. Out: in ``OUT`` the wheels, an sdist of each
distribution (made twice: the bytes are equal), and ``sbom.json``, which lists everything that is installed with Otus
(CycloneDX 1.6).
Each check ends the run with what is wrong.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from packaging.requirements import Requirement

from shipping import DISTRIBUTIONS, ROOT

if TYPE_CHECKING:
    from email.message import Message

EPOCH = 1767225600
"""2026-01-01: the time of every file in an sdist."""
ALLOWED = re.compile(r"\b(MIT|BSD|Apache|PSF|Python Software Foundation|ISC|MPL-2\.0|0BSD)\b", re.IGNORECASE)
"""Licences that a dependency may have: those under which an MIT project can be passed on with it."""
WANTED = ("description", "readme", "license", "requires-python", "authors", "version")


def project(name: str) -> dict[str, Any]:
    """Give the table ``project`` of a distribution."""
    found: dict[str, Any] = tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"]
    return found


def faults_of_metadata() -> list[str]:
    """Say what is wrong with what the distributions say of themselves: fields, versions, ranges, the changelog."""
    projects = {name: project(name) for name in DISTRIBUTIONS}
    version = projects["otus-core"]["version"]
    major, minor = version.split(".")[:2]
    span = f">={major}.{minor},<{major}.{int(minor) + 1}"
    told = [f"{name}: no {key}" for name, one in projects.items() for key in WANTED if not one.get(key)]
    told += [
        f"{name}: version {one['version']}, the core's is {version}"
        for name, one in projects.items()
        if one["version"] != version
    ]
    for name, one in projects.items():
        extras = [text for group in one.get("optional-dependencies", {}).values() for text in group]
        for requirement in map(Requirement, [*one.get("dependencies", []), *extras]):
            if requirement.name in DISTRIBUTIONS and requirement.specifier != Requirement(f"x{span}").specifier:
                told.append(f"{name}: requires {requirement}, and not {requirement.name}{span}")
    if not re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE):
        told.append(f"CHANGELOG.md: no heading for {version}")
    return told


def make_sdist(name: str, out: Path) -> Path:
    """Make the sdist of a distribution from a copy of its sources; the same sources make the same bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / name
        ignored = shutil.ignore_patterns("build", "*.egg-info", "*.so", "*.c", "__pycache__", ".*")
        shutil.copytree(ROOT / name, copy, ignore=ignored)
        code = f"from setuptools import build_meta as m; m.build_sdist({scratch!r})"
        subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, stdout=subprocess.DEVNULL)
        (made,) = Path(scratch).glob("*.tar.gz")
        out.mkdir(parents=True, exist_ok=True)
        (out / made.name).write_bytes(normalize(made))
    return out / made.name


def normalize(sdist: Path) -> bytes:
    """Give an sdist without what differs from one build to the next: times, owners, the order of files."""
    plain = io.BytesIO()
    with tarfile.open(sdist) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
        for entry in sorted(old.getmembers(), key=lambda one: one.name):
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname, entry.pax_headers = EPOCH, 0, 0, "", "", {}
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            new.addfile(entry, old.extractfile(entry) if entry.isreg() else None)
    return gzip.compress(plain.getvalue(), mtime=EPOCH)


def installed(*more: str) -> list[Distribution]:
    """Give every distribution that Otus brings with it, with all its plugins, as it is installed here; and ``more``."""
    waiting, found = [Requirement(name) for name in (*DISTRIBUTIONS, *more)], dict[str, Distribution]()
    seen = set[str]()
    while waiting:
        one = waiting.pop()
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        if (key := f"{name}{sorted(one.extras)}") in seen:
            continue
        seen.add(key)
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            sys.exit(f"{name} is not installed, and {one} is required")
        for wanted in map(Requirement, found[name].requires or ()):
            extras = one.extras or {""}
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(wanted)
    return [found[name] for name in sorted(found)]


def licence(of: Distribution) -> str:
    """Give the licence that a distribution names, by the newest of the ways to name it that it uses; empty for none."""
    about = cast("Message", of.metadata)  # which it is; its type says less
    classifiers = [text.rpartition(" :: ")[2] for text in about.get_all("Classifier") or () if "License ::" in text]
    field = str(about.get("License") or "").strip()
    return str(about.get("License-Expression") or "") or ", ".join(classifiers) or field.partition("\n")[0]


def faults_of_licences(found: list[Distribution]) -> list[str]:
    """Name what has another licence than those allowed, or none."""
    return [f"{one.name}: licence {licence(one)!r}" for one in found if not ALLOWED.search(licence(one))]


def bill_of_materials(found: list[Distribution]) -> dict[str, Any]:
    """Give the SBOM as CycloneDX 1.6 in JSON: each distribution with version, licence, and what it depends on."""
    names = {re.sub(r"[-_.]+", "-", one.name).lower(): one for one in found}
    purl = {name: f"pkg:pypi/{name}@{one.version}" for name, one in names.items()}

    def depends(one: Distribution) -> list[str]:
        wanted = map(Requirement, one.requires or ())
        return sorted({purl[n] for w in wanted if (n := re.sub(r"[-_.]+", "-", w.name).lower()) in purl})

    parts = [
        {
            "type": "library",
            "bom-ref": purl[name],
            "name": name,
            "version": one.version,
            "purl": purl[name],
            "licenses": [{"license": {"name": licence(one)}}],
        }
        for name, one in names.items()
    ]
    about = {"type": "application", "bom-ref": "otus", "name": "otus", "version": names["otus-core"].version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": about},
        "components": parts,
        "dependencies": [{"ref": purl[name], "dependsOn": depends(one)} for name, one in names.items()],
    }


def fail(told: list[str]) -> None:
    """End with these faults, if there are any."""
    if told:
        sys.exit("\n".join(told))


def check_bill(text: str) -> None:
    """Have CycloneDX's own schema take the SBOM."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    fail([f"sbom.json: {fault}"] if fault is not None else [])


def main() -> None:
    """Check and make everything; says what was made, with digests."""
    out, wheels = Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]]
    shutil.rmtree(out, ignore_errors=True)
    fail(faults_of_metadata())
    for name in DISTRIBUTIONS:
        first = make_sdist(name, out)
        again = make_sdist(name, out / "again")
        fail([f"{first.name}: two builds differ"] if first.read_bytes() != again.read_bytes() else [])
    shutil.rmtree(out / "again")
    for path in wheels:
        shutil.copy(path, out)
    made = sorted(str(path) for path in out.iterdir())
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *made], check=True)
    found = installed()
    fail(faults_of_licences(found))
    text = json.dumps(bill_of_materials(found), indent=2) + "\n"
    check_bill(text)
    (out / "sbom.json").write_text(text)
    for path in sorted(out.iterdir()):
        print(hashlib.sha256(path.read_bytes()).hexdigest()[:16], f"{path.stat().st_size:>10,}", path.name)
    print(f"{len(found)} distributions in sbom.json, each with a licence that is allowed")


if __name__ == "__main__":
    main()
