"""Compile the conditions; everything else is declared in pyproject.toml."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCES = sorted(Path("src").rglob("*.pyx"))
DEPENDS = sorted(map(str, Path("src").rglob("*.p[yx][xd]")))  # an sdist has what is named here; else it had only the C
EXTENSIONS = [
    Extension(
        ".".join(path.relative_to("src").with_suffix("").parts),
        [str(path)],
        depends=DEPENDS,
        extra_compile_args=["-O3", "-fno-strict-aliasing"],
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
