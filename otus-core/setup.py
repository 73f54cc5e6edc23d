"""Compile the per-packet path; everything else is declared in pyproject.toml."""

import sys

from setuptools import setup

sys.path.insert(0, "src")  # what is being built tells how

from otus_core.build import extensions

setup(ext_modules=extensions())
