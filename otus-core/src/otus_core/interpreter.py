"""How Otus starts a process of its own: this Python, with nothing importable from where the user happens to stand.

``python -m`` and ``python -c`` put the working directory first on ``sys.path``, so that a file there named like a
module of ours or of a library would run, with all that the process may do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def command(module: str, *arguments: str) -> list[str]:
    """Give the command line that runs the ``main`` of a module of ours: ``-P`` keeps the working directory off
    ``sys.path``.

    Not by ``-m``: that imports runpy first, and runs the module a second time where something imports it by its name.
    """
    return [sys.executable, "-P", "-c", f"from {module} import main; main()", *arguments]


def environment(given: Mapping[str, str] = os.environ, *first: str) -> dict[str, str]:
    """Give the environment of such a process; the folders ``first`` come before those of ``PYTHONPATH``.

    An empty entry of ``PYTHONPATH``, which ``PYTHONPATH=$PYTHONPATH:/more`` leaves behind, would be the working
    directory again.
    """
    folders = [*first, *(folder for folder in given.get("PYTHONPATH", "").split(os.pathsep) if folder)]
    rest = {name: value for name, value in given.items() if name != "PYTHONPATH"}
    return rest | ({"PYTHONPATH": os.pathsep.join(folders)} if folders else {})
