"""Compile the per-packet path; everything else is declared in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUGGED = "-g" in os.environ.get("CFLAGS", "").split()  # else without: it is nine tenths of a module
SOURCES = sorted(Path("src").rglob("*.pyx"))
DEPENDS = sorted(map(str, Path("src").rglob("*.p[yx][xd]")))  # an sdist has what is named here; else it had only the C
EXTENSIONS = [
    Extension(
        ".".join(path.relative_to("src").with_suffix("").parts),
        [str(path)],
        depends=DEPENDS,
        extra_compile_args=["-O3", "-fno-strict-aliasing", *([] if DEBUGGED else ["-g0"])],
        extra_link_args=[] if DEBUGGED else ["-s"],
    )
    for path in SOURCES
]

setup(
    ext_modules=cythonize(
        EXTENSIONS,
        include_path=["src"],
        compiler_directives={
            "language_level": 3,
            "boundscheck": True,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "binding": False,
        },
    )
)
