"""The executable, in a file system that has nothing else: no Python, no C library, no shell."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest

from tests import needs
from tests.core.plugins.distributions import Site
from tests.core.plugins.test_folder import PARSER
from tests.patience import wait
from tests.shipping.bare import Bare, messages_here, shipped

pytestmark = pytest.mark.on_demand

DISTRIBUTIONS = {path.parent.name for path in needs.ROOT.glob("otus-*/pyproject.toml")}
CONFIG = """\
otus:
  node: {hostname: edge-1, ip: 127.0.0.1}
  control: {socket: /tmp/o.sock, pid_file: /tmp/o.pid}
  data_dir: /tmp/data
  metrics: {enabled: false}
  log: {outputs: {file: {enabled: false}}}
"""
TASK = {
    "id": "t1",
    "capture": {"type": "pcap", "files": ["/call.pcap"], "speed": 0.001},
    "workers": 2,
    "parsers": ["sip"],
    "reporters": ["discard"],
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """A root with the executable and the examples; it has been started once."""
    file = shipped()
    bare = Bare(tmp_path_factory.mktemp("bare") / "root", arm=file.name.endswith("aarch64"))
    shutil.copy(file, bare.folder / "otus")
    for path in needs.ROOT.glob("examples/*.pcap"):
        shutil.copy(path, bare.folder)
    times = []
    for _ in range(3):
        started = time.monotonic()
        assert bare.run("/otus", "--version").startswith("otus ")
        times.append(f"{time.monotonic() - started:.2f} s")
    print(f"\n{file.name}: {file.stat().st_size:,} bytes; first start {times[0]}, then {times[1]}, {times[2]}")
    return bare


def test_it_has_every_plugin_of_ours(bare: Bare) -> None:
    rows = json.loads(bare.run("/otus", "plugins", "list", "--json"))
    assert {row["distribution"] for row in rows} == DISTRIBUTIONS
    assert [row for row in rows if row["state"] != "ready"] == []


@pytest.mark.parametrize("name", ["call", "fragmented", "register", "tcp", "vlan"])
def test_it_says_what_an_installed_otus_says(bare: Bare, name: str) -> None:
    assert bare.run("/otus", "run", f"/{name}.pcap", "-q", "--format", "json") == messages_here(
        needs.ROOT / "examples" / f"{name}.pcap"
    )


def test_two_workers_and_a_filter_of_libpcap(bare: Bare) -> None:
    command = ("run", "/call.pcap", "-q", "--format", "json", "--workers", "2", "--bpf", "udp port 5060")
    assert len(bare.run("/otus", *command).splitlines()) == 7


def test_the_table_of_calls(bare: Bare) -> None:
    table = bare.run("/otus", "calls", "/call.pcap", "/cancel.pcap")
    assert [line.split()[5] for line in table.splitlines() if line[:1].isdigit() and "→" in line] == [
        "completed",
        "cancelled",
    ]


def test_a_daemon_with_a_task_of_two_workers(bare: Bare) -> None:
    (bare.folder / "config.yml").write_text(CONFIG)
    (bare.folder / "tasks.d").mkdir()
    (bare.folder / "tasks.d" / "t1.json").write_text(json.dumps(TASK))
    (bare.folder / "config.yml").chmod(0o600)

    def state() -> str:
        done = subprocess.run(
            bare.command("/otus", "--socket", "/tmp/o.sock", "--output", "json", "task", "status", "t1"),
            capture_output=True,
            text=True,
            check=False,
        )
        return str(json.loads(done.stdout)["state"]) if done.returncode == 0 else done.stderr

    with subprocess.Popen(bare.command("/otus", "daemon", "-c", "/config.yml"), stderr=subprocess.DEVNULL) as daemon:
        try:
            wait(lambda: state() == "running", what="the task runs")
        finally:
            daemon.kill()  # unshare, which takes all that runs there with it


def test_plugins_in_a_folder(bare: Bare) -> None:
    (folder := bare.folder / "plugins").mkdir(mode=0o755)
    Site(folder=folder).install("otus-plugin-odd", PARSER)
    command = ("/otus", "run", "/call.pcap", "-q", "--workers", "2", "--parser", "odd", "--format", "json")
    assert bare.run(*command, OTUS_PLUGIN_DIR="/plugins").count('"payload_type":"odd"') == 7
    folder.chmod(0o777)
    assert "odd" in bare.run(*command, OTUS_PLUGIN_DIR="/plugins", status=2)


def test_it_is_unpacked_once_into_a_folder_that_nobody_else_can_write_to(bare: Bare) -> None:
    (folder := bare.folder / "cache").mkdir(mode=0o755)
    bare.run("/otus", "--version", OTUS_UNPACK_DIR="/cache")
    (tree,) = (path for path in folder.iterdir() if path.is_dir())
    before = (tree / "lib" / "otus").stat()
    bare.run("/otus", "--version", OTUS_UNPACK_DIR="/cache")
    assert (tree / "lib" / "otus").stat() == before
    folder.chmod(0o777)
    assert "is not used" in bare.run("/otus", "--version", OTUS_UNPACK_DIR="/cache", status=125)
    assert "not a full path" in bare.run("/otus", "--version", OTUS_UNPACK_DIR="cache", status=125)


def test_a_damaged_file_is_told(bare: Bare) -> None:
    data = bytearray((bare.folder / "otus").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    (bare.folder / "damaged").write_bytes(data)
    (bare.folder / "damaged").chmod(0o755)
    assert "damaged" in bare.run("/damaged", "--version", OTUS_UNPACK_DIR="/elsewhere", status=125)
    assert [
        path.name for path in (bare.folder / "elsewhere").iterdir() if path.is_dir() and "new" not in path.name
    ] == []


def test_the_environment_of_another_python_is_not_heeded(bare: Bare) -> None:
    (odd := bare.folder / "odd").mkdir()
    (odd / "json.py").write_text("raise SystemExit('not this one')\n")
    bare.run("/otus", "run", "/call.pcap", "-q", PYTHONPATH="/odd", PYTHONHOME="/odd")
