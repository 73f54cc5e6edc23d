"""The Debian package's unit under a real systemd, which is the first process of a container made here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import needs
from tests.patience import wait
from tests.shipping.bare import shipped, small_debian

pytestmark = pytest.mark.on_demand

TASK = "id: t\ncapture: {type: afpacket, interface: lo}\nparsers: [sip]\nreporters: [discard]\n"
MASKED = (
    *("systemd-networkd.service", "systemd-networkd.socket", "systemd-networkd-wait-online.service"),
    *("systemd-udevd.service", "systemd-timesyncd.service", "systemd-logind.service", "getty.target"),
)
"""What a container has no use for; without a network to wait for, the unit would wait for minutes."""
APART = ("unshare", "--mount", "--pid", "--fork", "--net", "--cgroup", "--ipc", "--uts", "--kill-child")
CAP_NET_RAW = 1 << 13


class System:
    """The container; ``run`` enters it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, *words: str) -> str:
        """Give what a program says there."""
        enter = ("nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-C", "-i", "-u", "-r", "-w")
        there = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *words)
        return subprocess.run([*enter, *there], capture_output=True, text=True, timeout=60, check=False).stdout.strip()

    def show(self, key: str) -> str:
        """Give a property of the unit."""
        return self.run("systemctl", "show", "--property", key, "--value", "otus")

    def answers(self) -> bool:
        """Whether the unit is active and its daemon runs the task."""
        return self.show("ActiveState") == "active" and "running" in self.run("otus", "task", "status", "t")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A container whose Otus captures; its watchdog waits for four seconds in the place of thirty."""
    (package,) = (path for path in shipped().glob("otus_*_amd64.deb"))
    bare = small_debian(tmp_path_factory.mktemp("system") / "root")
    root = bare.folder
    shutil.copy(package, root)
    bare.run("dpkg", "-i", f"/{package.name}")
    (root / "etc/otus/tasks.d/t.yaml").write_text(TASK)
    (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    for name in MASKED:
        (root / "etc/systemd/system" / name).symlink_to("/dev/null")
    (root / "etc/systemd/system/otus.service.d").mkdir()
    (root / "etc/systemd/system/otus.service.d/quick.conf").write_text("[Service]\nWatchdogSec=4\n")
    script = Path(__file__).with_name("systemd.sh")
    needs.tool("nsenter")
    with subprocess.Popen([*APART, "sh", str(script), str(root)]) as outer:
        try:
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
            wait(lambda: children.read_text().strip(), what="the container starts")
            system = System(int(children.read_text()))
            wait(system.answers, what="the task runs")
            yield system
        finally:
            outer.kill()


def main_pid(system: System) -> str:
    return system.show("MainPID")


def test_it_runs_with_one_capability_and_a_filter_of_system_calls(system: System) -> None:
    status = dict(line.split(":\t", 1) for line in system.run("cat", f"/proc/{main_pid(system)}/status").splitlines())
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == CAP_NET_RAW
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["Uid"].split()[0] != "0"


def test_it_is_started_again_after_it_was_killed(system: System) -> None:
    before, restarts = main_pid(system), int(system.show("NRestarts"))
    system.run("sh", "-c", f"kill -9 {before}")
    wait(lambda: system.answers() and main_pid(system) != before, what="another daemon runs the task")
    assert int(system.show("NRestarts")) == restarts + 1


def test_the_watchdog_ends_what_hangs(system: System) -> None:
    before = main_pid(system)
    system.run("sh", "-c", f"kill -STOP {before}")
    wait(lambda: system.answers() and main_pid(system) != before, what="another daemon runs the task")
    assert "watchdog" in system.run("journalctl", "--no-pager", "-u", "otus").lower()


def test_it_ends_in_order(system: System) -> None:
    system.run("systemctl", "stop", "otus")
    assert (system.show("ActiveState"), system.show("Result")) == ("inactive", "success")
