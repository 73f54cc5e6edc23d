"""Compile the statistics and the parser; everything else is declared in pyproject.toml."""

import sys
from importlib.util import find_spec

from setuptools import setup

sys.path.insert(0, "../otus-core/src")  # the core, in a checkout; elsewhere it is a build requirement, as said below
if find_spec("otus_core"):
    from otus_core.build import extensions

    setup(ext_modules=extensions())
else:
    setup(setup_requires=["otus-core>=0.1,<0.2"])
