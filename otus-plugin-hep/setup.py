"""Compile what writes, sends, receives and reads HEP; everything else is declared in pyproject.toml."""

import sys

from setuptools import setup

sys.path.insert(0, "../otus-core/src")  # the core, in a checkout; elsewhere it is a build requirement, as said below
try:
    from otus_core.build import extensions
except ModuleNotFoundError:
    setup(setup_requires=["otus-core>=0.1,<0.2"])
else:
    setup(ext_modules=extensions())
