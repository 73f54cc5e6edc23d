"""The wheels for every Python and machine, those for ARM in an emulator: they say what those of this environment say,
and decoder and parser are right.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from shipping.machines import MACHINES, PYTHONS, Machine, sysroot
from tests import needs
from tests.shipping.bare import Bare, messages_here, shipped

pytestmark = pytest.mark.on_demand

EXAMPLES = sorted(needs.ROOT.glob("examples/*.pcap"))
TESTS = ("tests/core/decode/test_layers.py", "tests/core/decode/test_tunnels.py", "tests/sip/test_sip_parse.py")
START = "import sys; from otus_core.cli import main; sys.exit(main())"


@pytest.fixture(scope="module", params=PYTHONS)
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Machine:
    return MACHINES[request.param]


@pytest.fixture(scope="module")
def installed(machine: Machine, python: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bare, str]:
    """A root with a CPython for a machine, and the wheels installed for it."""
    made = shipped()
    from shipping.tree import install  # needs a library that only the sessions that ship have

    wheels = list(made.glob(f"*-cp{python.replace('.', '')}-*_{machine.name}.whl"))
    if not wheels:
        pytest.skip(f"no wheels for CPython {python} on {machine.name} were made")
    folder = tmp_path_factory.mktemp(machine.name) / "root"
    # Without its devices: a copy of /dev/zero would have no end.
    devices = shutil.ignore_patterns("dev", "proc", "sys", "tmp", "root", "include", "doc")
    shutil.copytree(sysroot(machine, python), folder, symlinks=True, ignore=devices)
    bare = Bare(folder, arm=not machine.is_here)
    pure = made.glob("*-none-any.whl")
    tools = ("pytest", "pytest-timeout", "hypothesis", "dpkt")
    install(machine, python, [*wheels, *pure], folder / "site", *tools)
    for path in EXAMPLES:
        shutil.copy(path, folder)
    shutil.copytree(needs.ROOT / "tests", folder / "repo" / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(needs.ROOT / "examples", folder / "repo" / "examples")
    shutil.copy(needs.ROOT / "pyproject.toml", folder / "repo")
    return bare, f"/usr/bin/python{python}"


@pytest.mark.timeout(1800)
def test_every_example_gives_the_same_json(installed: tuple[Bare, str], machine: Machine) -> None:
    bare, python = installed
    said = bare.run(python, "-P", "-c", "import os; print(os.uname().machine)")
    assert said.strip() == machine.name
    command = (python, "-P", "-c", START, "run", *(f"/{path.name}" for path in EXAMPLES), "-q", "--format", "json")
    found = bare.run(*command, PYTHONPATH="/site")
    assert found.count("\n") > 30
    assert found == messages_here(*EXAMPLES)


@pytest.mark.timeout(1800)
def test_the_tests_of_decoder_and_parser_pass(installed: tuple[Bare, str]) -> None:
    bare, python = installed
    code = "import os, sys, pytest; os.chdir('/repo'); sys.path.insert(0, '/repo'); sys.exit(pytest.main(sys.argv[1:]))"
    options = ("-q", "-p", "no:cacheprovider", "--rootdir=/repo", *TESTS)
    done = subprocess.run(
        bare.command(python, "-c", code, *options),
        env={**os.environ, "PYTHONPATH": "/site", "CI": ""},
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    print(done.stdout[-500:])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
