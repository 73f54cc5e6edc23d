"""Imports run one way, and plugins use the public names alone, in compiled modules and stubs as in Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import otus_core
from tests.house.layers import SUFFIXES, beyond_the_public, circles, core_layers, imported, upward
from tests.needs import ROOT

PUBLIC = frozenset(otus_core.__all__)
PACKAGES = sorted(path for path in ROOT.glob("otus-*/src/otus_*") if path.is_dir() and path.suffix == "")
TESTING = "otus_core.testing"


def files(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*") if path.suffix in SUFFIXES)


def test_the_core_imports_downwards() -> None:
    package = ROOT / "otus-core" / "src" / "otus_core"
    layers = core_layers()
    assert {path.suffix for path in files(package)} == set(SUFFIXES)
    assert [line for path in files(package) for line in upward(path, package.parent, layers)] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_modules_import_each_other(package: Path) -> None:
    assert circles(package) == []


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    package = tmp_path / "otus_core"
    package.mkdir()
    (package / "low.py").write_text("import attrs\n")
    (package / "one.py").write_text("from otus_core.two import thing\nfrom otus_core import low\n")
    (package / "two.py").write_text("if TYPE_CHECKING:\n    from otus_core import three\n")
    (package / "three.py").write_text("from otus_core.one import (\n    other,\n)\n")
    (package / "high.py").write_text("from otus_core.one import other\n")
    assert circles(package) == ["otus_core.one", "otus_core.three", "otus_core.two"]


@pytest.mark.parametrize("package", [path for path in PACKAGES if path.name != "otus_core"], ids=lambda path: path.name)
def test_plugins_use_public_names(package: Path) -> None:
    assert [line for path in files(package) for line in beyond_the_public(path, package.name, PUBLIC)] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model/planted.pyx", "from otus_core.pipeline.buffer cimport SendBuffer\n"),
        ("model/planted.pxd", "from otus_core.decode.decoder cimport (\n    Decoder,  # the way up\n)\n"),
        ("decode/planted.pyi", "import otus_core.worker.worker\n"),
        ("pipeline/planted.pyx", "cimport otus_core.worker.worker\n"),
        ("model/planted.py", "from otus_core import pipeline\n"),
        ("model/other.pyx", "from otus_sip.scan cimport scan\n"),
    ],
)
def test_a_planted_way_up_is_found(tmp_path: Path, name: str, text: str) -> None:
    planted = tmp_path / "otus_core" / name
    planted.parent.mkdir(parents=True)
    planted.write_text(text)
    assert len(upward(planted, tmp_path, core_layers())) == 1


@pytest.mark.parametrize(
    "text",
    [
        "from otus_core.model.output cimport OutputPacket\n",
        "from otus_core.inline import writer\n",
        "from otus_core import OutputPacket, Layers\n",
        "from otus_core.model.output import OutputPacket\n",
        "import otus_core.model.output\n",
        "from otus_pcap.chunk import Chunk\n",
    ],
)
def test_a_planted_private_name_is_found(tmp_path: Path, text: str) -> None:
    planted = tmp_path / "planted.pyx"
    planted.write_text(text)
    assert beyond_the_public(planted, "otus_sip", PUBLIC)


def test_what_is_inline_may_be_cimported(tmp_path: Path) -> None:
    planted = tmp_path / "planted.pyx"
    planted.write_text("from otus_core import FlowKey\n\nfrom otus_core.inline.writer cimport Writer, raw\n")
    assert beyond_the_public(planted, "otus_sip", PUBLIC) == []


def test_what_is_inline_needs_nothing_at_run_time() -> None:
    """It holds no module, cimports nothing of the core that is not inline, and what has no body is C of its own."""
    package = ROOT / "otus-core" / "src" / "otus_core" / "inline"
    assert {path.suffix for path in files(package)} == {".py", ".pxd"}
    for path in files(package):
        text = path.read_text()
        assert all(m.startswith(("libc.", "cpython.", "otus_core.inline.")) for m, _ in imported(text)), path
        bare = re.findall(r"^cdef (?!inline |extern |enum|struct)[^\n]*", text, re.MULTILINE)
        assert bare == [], path


def test_type_checkers_may_look_up() -> None:
    text = "if TYPE_CHECKING:\n    from otus_core.worker.worker import Worker\n\nfrom otus_core import option\n"
    assert list(imported(text)) == [("otus_core", ("option",))]


def test_the_core_knows_kafka_in_one_place() -> None:
    """``plugins/known.py`` names what can be installed; everything else in the core holds for any plugin."""
    core = ROOT / "otus-core" / "src" / "otus_core"
    naming = set()
    for path in core.rglob("*.py"):
        tree = ast.parse(path.read_text())
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings, also of names
        texts = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
        if any("kafka" in text.value.lower() for text in texts if id(text) not in prose):
            naming.add(str(path.relative_to(core)))
    assert naming == {"plugins/known.py"}
