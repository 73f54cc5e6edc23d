"""Makes the container image: ``python -m shipping.image OUT [--pull]``.

In: the repository. Out: what ``deploy/docker/Dockerfile`` says, built by buildah in a store of its own (``command``
leads to it) and saved as ``otus-image.tar``, which ``docker load`` and ``podman load`` take. Without ``--pull`` no
registry is asked: in that store, the name of the base stands for a small Debian made here, with Debian's Python where
the official image has its own.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from shipping import CACHE, ROOT
from shipping.machines import archives, need

STORE = CACHE / "image"
NAME = "localhost/otus"
FILE = ROOT / "deploy" / "docker" / "Dockerfile"
REGISTRY = "docker.io/library"
"""Where Docker looks for what the file names."""
PACKAGES = "python3-venv,libpython3-dev,ca-certificates"
LINKS = 'ln -s /usr/bin/python3 "$1/usr/local/bin/python3" && ln -s python3 "$1/usr/local/bin/python"'
NO_CACHES = 'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";'
"""As in the official image: where its interpreter is, and that apt-get leaves no caches of 80 MB."""
PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "cert")
"""Of pip's configuration here: what leads to a package index."""


def command(program: str, *words: object) -> list[str]:
    """Give the command line of buildah or podman that works on the store."""
    return [need(program, program), "--root", str(STORE / "root"), "--runroot", str(STORE / "run"), *map(str, words)]


def base_name() -> str:
    """Give the name of the image that the file begins with."""
    found = set(re.findall(r"^FROM (\S+)", FILE.read_text(), re.MULTILINE))
    (name,) = found
    return f"{REGISTRY}/{name}"


def make_base(scratch: Path) -> None:
    """Put the Debian that stands for the official image into the store."""
    archive = scratch / "base.tar"
    options = ("--variant=minbase", f"--include={PACKAGES}", f"--customize-hook={LINKS}", f"--aptopt={NO_CACHES}")
    made = [need("mmdebstrap", "mmdebstrap"), "--quiet", *options, "bookworm", str(archive), *archives("bookworm")]
    subprocess.run(made, check=True)
    subprocess.run(command("podman", "import", "--quiet", archive, base_name()), check=True)


def mounts(scratch: Path) -> Iterator[str]:
    """Give the options that let pip in the build reach the index that it uses here; nothing of them is in the image."""
    asked = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {key.rpartition(".")[2]: value.strip("'") for key, _, value in (line.partition("=") for line in lines)}
    config = scratch / "pip.conf"
    config.write_text("[global]\n" + "".join(f"{key} = {found[key]}\n" for key in PIP_KEYS if key in found))
    yield f"--volume={config}:/etc/pip.conf:ro"
    if "cert" in found:
        yield f"--volume={found['cert']}:{found['cert']}:ro"


def let_go() -> None:
    """Unmount what podman leaves mounted of the store: the clone that it lies in could not be deleted."""
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in reversed([one for one in places if one.startswith(f"{STORE}/")]):
        subprocess.run(["umount", "--lazy", place], check=True)


def build(pull: bool, out: Path) -> Path:
    """Build the image and save it in a folder; gives the file."""
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        if not pull:
            make_base(scratch)
        # The format of Docker, because the one of OCI has no health check.
        where = "--pull-always" if pull else "--pull-never"
        options = ("--format=docker", "--isolation=chroot", where, "--tag", NAME)
        subprocess.run(command("buildah", "build", *options, *mounts(scratch), "-f", FILE, ROOT), check=True)
    out.mkdir(parents=True, exist_ok=True)
    archive = out / "otus-image.tar"
    archive.unlink(missing_ok=True)
    subprocess.run(command("podman", "save", "--quiet", "--output", archive, NAME), check=True)
    for name in (base_name(), NAME):
        print(name, f"{size(name):,} bytes")
    print(f"{archive}: {archive.stat().st_size:,} bytes")
    return archive


def size(name: str) -> int:
    """Give how large an image of the store is, unpacked."""
    asked = command("podman", "image", "inspect", "--format", "{{.Size}}", name)
    return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(prog="shipping.image", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pull", action="store_true", help="take the base from a registry")
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the image is built as root")
    try:
        build(given.pull, given.out)
    finally:
        let_go()


if __name__ == "__main__":
    main()
