"""How Otus is shipped: wheels for other machines, the executable that needs no Python, the Debian package, the
container image, a release.

Run by ``nox -s wheels -- all | binary | deb | image | release-check``; nothing of it is installed with Otus.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache"
DISTRIBUTIONS = tuple(sorted(path.parent.name for path in ROOT.glob("otus-*/pyproject.toml")))
