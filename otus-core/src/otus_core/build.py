"""How compiled modules of Otus and of its plugins are built: ``setup(ext_modules=extensions())`` in ``setup.py``.

In: the folder ``src`` of a distribution. Out: one extension for each ``.pyx`` below it, translated by Cython, with the
core's ``otus_core/inline/*.pxd`` within reach of ``cimport``. Needs setuptools and Cython, which a distribution names
in ``[build-system] requires``, beside ``otus-core``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from setuptools import Extension

CORE = Path(__file__).parent
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": True,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
    "binding": False,
}


def extensions(source: str = "src") -> list[Extension]:
    """Give the extensions of the distribution whose sources are below ``source``, a path relative to its ``setup.py``.

    With ``-g`` in ``CFLAGS`` they keep their debugging information, which is nine tenths of a module.
    """
    from Cython.Build import cythonize
    from setuptools import Extension

    debugged = "-g" in os.environ.get("CFLAGS", "").split()
    root = Path(source)
    # An sdist takes what is named in `depends`; else it had only the C
    own = sorted(map(str, root.rglob("*.p[yx][xd]")))
    modules = [
        Extension(
            ".".join(path.relative_to(root).with_suffix("").parts),
            [str(path)],
            depends=own,
            extra_compile_args=["-O3", "-fno-strict-aliasing", *([] if debugged else ["-g0"])],
            extra_link_args=[] if debugged else ["-s"],
        )
        for path in sorted(root.rglob("*.pyx"))
    ]
    reach = [source, str(CORE.parent)]
    made: list[Extension] = cythonize(  # type: ignore[no-untyped-call, unused-ignore]
        modules, include_path=reach, compiler_directives=dict(DIRECTIVES)
    )
    return made
