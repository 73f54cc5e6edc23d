"""A third party's compiled module: built from its sdist against the core that is installed, as docs/plugins.md says."""

from __future__ import annotations

import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.needs import ROOT
from tests.plugins.installed import Installed

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77", "Cython>=3.1,<4", "otus-core>=0.1,<0.2"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-shared"
version = "1"

[tool.setuptools.packages.find]
where = ["src"]
"""
SETUP = """\
from otus_core.build import extensions
from setuptools import setup

setup(ext_modules=extensions())
"""
MODULE = """\
\"\"\"One function of each inline module.\"\"\"

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

from otus_core.inline.hashing cimport keyed_hash
from otus_core.inline.json cimport write_number, write_str, write_utf8
from otus_core.inline.labels cimport Label, next_label, put_label
from otus_core.inline.layouts cimport Flow, FrameRecord
from otus_core.inline.tables cimport Buckets, Links, Order, append, chain, close_buckets, leave, open_buckets, unchain
from otus_core.inline.text cimport ADDRESS_MAX, print_address
from otus_core.inline.writer cimport Writer, raw, release, room, written


cdef struct Entry:
    int number
    void *chained
    Links age


def ages():
    # Three entries come into one bucket and one order, and the middle one leaves both.
    cdef Buckets buckets
    cdef Order order
    cdef Entry[3] entries
    cdef Entry *entry
    memset(&order, 0, sizeof(Order))
    open_buckets(&buckets, 1)
    for n in range(3):
        entries[n].number = n
        chain(&buckets.at[0], &entries[n], &entries[n].chained)
        append(&order, &entries[n], &entries[n].age)
    unchain(&buckets.at[0], &entries[1], &entries[1].chained)
    leave(&order, &entries[1], &entries[1].age)
    entry = <Entry *>buckets.at[0]
    found = [entry.number, (<Entry *>entry.chained).number, (<Entry *>order.oldest).number]
    close_buckets(&buckets)
    return found, (<Entry *>entry.chained).chained == NULL, (<Entry *>order.newest).age.older == order.oldest


def told(str text, bytes utf8, long long number, bytes address):
    cdef Writer out
    cdef Label label
    cdef uint64_t key[2]
    key[0], key[1] = 1, 2
    memset(&out, 0, sizeof(Writer))
    try:
        raw(&out, b"[", 1)
        write_str(&out, text)
        raw(&out, b",", 1)
        write_utf8(&out, <const uint8_t *>PyBytes_AS_STRING(utf8), len(utf8))
        raw(&out, b",", 1)
        write_number(&out, number)
        raw(&out, b',"', 2)
        out.at = print_address(room(&out, ADDRESS_MAX), <const uint8_t *>PyBytes_AS_STRING(address), 6)
        raw(&out, b'"]', 2)
        made = PyBytes_FromStringAndSize(out.start, written(&out))
        out.at = out.start
        put_label(&out, b"a.b", 3, b"text", 4)
        next_label(<const uint8_t *>out.start, <const uint8_t *>out.at, &label)
        assert label.text[:label.text_len] == b"text"
        assert keyed_hash(key, out.start, 3) != keyed_hash(key, out.start, 4)
    finally:
        release(&out)
    return made, sizeof(Flow), sizeof(FrameRecord)
"""
ASK = (
    "import sys; from acme_shared.told import ages, told; "
    "print(ages(), told('ü\"\\U00010000', b'\\xff\\n', -7, bytes(15) + "
    "b'\\x01'), sorted(m for m in sys.modules if 'otus' in m))"
)


@pytest.mark.slow
def test_a_plugin_is_built_against_what_the_core_ships(tmp_path: Path) -> None:
    source = tmp_path / "acme"
    package = source / "src" / "acme_shared"
    package.mkdir(parents=True)
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "setup.py").write_text(SETUP)
    (package / "__init__.py").touch()
    (package / "told.pyx").write_text(MODULE)
    installed = Installed(tmp_path)
    installed.install(source)
    done = installed.run(sys.executable, "-P", "-c", ASK)
    assert done.returncode == 0, done.stderr
    told = rb'["\u00fc\"\ud800\udc00","\ufffd\u000a",-7,"::1"]'
    assert done.stdout.strip() == f"([2, 0, 0], True, True) {(told, 40, 32)} []"


@pytest.mark.parametrize("name", ["afpacket", "filter", "kafka", "pcap", "sip"])
def test_the_core_is_a_build_requirement_of_our_plugins(tmp_path: Path, name: str) -> None:
    """Outside of a checkout, where it is not installed, whoever builds is told to get it first (PEP 517)."""
    (tmp_path / "setup.py").write_text((ROOT / f"otus-plugin-{name}" / "setup.py").read_text())
    asked = (
        "import sys; sys.modules['otus_core'] = None; from setuptools import build_meta; "
        "print(build_meta.get_requires_for_build_wheel(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=False)
    (required,) = map(Requirement, literal_eval(done.stderr.splitlines()[-1]))
    assert (required.name, required.specifier) == ("otus-core", SpecifierSet(">=0.1,<0.2"))
