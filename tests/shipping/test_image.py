"""The container image in a real engine (podman), with the user, the capabilities and the read-only root that the
DaemonSet says, in namespaces of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipping.image import NAME, command, let_go, size
from tests import needs
from tests.patience import wait
from tests.shipping.bare import messages_here, shipped

pytestmark = pytest.mark.on_demand

APART = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c")
START = "ip link set lo up; umount -l /sys/fs/cgroup/unified 2>/dev/null; echo ready; while sleep 0.5; do :; done"
"""crun knows one kind of cgroups at a time, and a machine may have two."""
DISTRIBUTIONS = {path.parent.name for path in needs.ROOT.glob("otus-*/pyproject.toml")}
EXAMPLES = needs.ROOT / "examples"
CAP_NET_RAW = 1 << 13
OPTIONS = b"OPTIONS sip:a@example.com SIP/2.0\r\nCall-ID: 1@example.com\r\nCSeq: 1 OPTIONS\r\n\r\n"
PLAIN = ("setpriv", "--inh-caps=-all", "--ambient-caps=-all")
"""podman hands capabilities on by itself (they are ambient), where Docker and Kubernetes leave that to the file of the
interpreter: so they are taken away before.
"""


class Engine:
    """podman in namespaces of its own, in which it has no other network than loopback."""

    def __init__(self, pid: int) -> None:
        self.enter = ("nsenter", "-t", str(pid), "-m", "-n", "-p")

    def run(self, *words: object, status: int = 0, **kwargs: Any) -> str:
        """Give what podman says; it has to end with this status."""
        podman = command("podman", "--cgroup-manager=cgroupfs", *words)
        done = subprocess.run(
            [*self.enter, *podman], capture_output=True, text=True, timeout=280, check=False, **kwargs
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + (done.stderr if status else "")

    def start(self, *words: object, **kwargs: Any) -> str:
        """Run a container with these options, image and arguments, as ``run`` does."""
        # This process may not be allowed to raise limits to what podman would give.
        limits = [
            f"--ulimit={name}={number}:{number}"
            for name, number in (
                ("nofile", resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
                ("nproc", resource.getrlimit(resource.RLIMIT_NPROC)[1]),
            )
        ]
        return self.run("run", "--cgroups=disabled", "--network=host", *limits, *words, **kwargs)

    def status(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program in a container."""
        podman = command("podman", "--cgroup-manager=cgroupfs", "exec", name, *words)
        return subprocess.run([*self.enter, *podman], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    needs.root()
    shipped()
    needs.tool("podman")
    with subprocess.Popen([*APART, START], stdout=subprocess.PIPE, text=True) as outer:
        try:
            assert outer.stdout is not None and outer.stdout.readline() == "ready\n"
            engine = Engine(int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text()))
            yield engine
            engine.run("rm", "--all", "--force", "--time=1")
        finally:
            outer.kill()
            let_go()


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """The DaemonSet's documents by kind."""
    text = (needs.ROOT / "deploy" / "kubernetes" / "daemonset.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def security(container: dict[str, Any], pod: dict[str, Any]) -> list[str]:
    """Give podman's options that say what a container's security context says."""
    said = {**pod["securityContext"], **container["securityContext"]}
    user, group = said["runAsUser"], said["runAsGroup"]
    options = [f"--user={user}:{group}", *(f"--group-add={one}" for one in [said["fsGroup"]])]
    options += ["--read-only"] if said.get("readOnlyRootFilesystem") else []
    options += ["--security-opt=no-new-privileges"] if said.get("allowPrivilegeEscalation") is False else []
    options += [f"--cap-drop={name}" for name in said["capabilities"]["drop"]]
    return options + [f"--cap-add={name}" for name in said["capabilities"]["add"]]


def test_it_is_what_the_dockerfile_says(engine: Engine) -> None:
    (about,) = json.loads(engine.run("image", "inspect", NAME))
    config = about["Config"]
    assert (config["User"], config["Entrypoint"]) == ("10001", ["otus"])
    assert about["Healthcheck"]["Test"] == ["CMD", "otus", "status", "--alive", "--quiet"]
    print(f"\n{NAME}: {size(NAME):,} bytes")


def test_every_plugin_is_ready(engine: Engine) -> None:
    assert engine.start("--rm", NAME, "--version").startswith("otus ")
    rows = json.loads(engine.start("--rm", NAME, "plugins", "list", "--json"))
    assert {row["distribution"] for row in rows} == DISTRIBUTIONS
    assert [row for row in rows if row["state"] != "ready"] == []


def test_it_reads_a_capture_as_an_installed_otus_does(engine: Engine) -> None:
    there = ("--rm", "--read-only", f"--volume={EXAMPLES}:/captures:ro", NAME, "run", "/captures/call.pcap")
    assert engine.start(*there, "-q", "--format", "json") == messages_here(EXAMPLES / "call.pcap")


@pytest.mark.parametrize(
    ("capability", "status"), [("--cap-add=NET_RAW", 0), ("--cap-drop=NET_RAW", 1)], ids=["given", "not-given"]
)
def test_it_captures_in_the_foreground(engine: Engine, capability: str, status: int) -> None:
    """With what the file of the interpreter permits, or not at all, which it says."""
    there = ("--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", capability, "--entrypoint=timeout", NAME)
    live = ("--signal=INT", "--preserve-status", "3", *PLAIN, "otus", "run", "-i", "lo", "-q")
    said = engine.start(*there, *live, status=status)
    assert said == "" if status == 0 else "capturing needs CAP_NET_RAW" in said


def test_the_compose_file_starts_it(engine: Engine) -> None:
    text = (needs.ROOT / "deploy" / "docker" / "compose.yml").read_text()
    service = yaml.safe_load(text)["services"]["otus"]
    options = [
        *(f"--cap-drop={name}" for name in service["cap_drop"]),
        *(f"--cap-add={name}" for name in service["cap_add"]),
        *(f"--env={name}={value}" for name, value in service["environment"].items()),
        *(f"--volume={volume}" for volume in service["volumes"]),
        # podman has no option for the owner of such a folder: the daemon's is its user's, as everything is 01777.
        *(f"--tmpfs={path.partition(':')[0]}" for path in service["tmpfs"]),
        "--env=OTUS_NODE_IP=192.0.2.1",
    ]
    assert service["read_only"]
    daemon = (f"--entrypoint={PLAIN[0]}", NAME, *PLAIN[1:], "otus", "daemon", "--config", "/etc/otus/config.yml")
    engine.start("--detach", "--name=composed", "--health-interval=disable", "--read-only", *options, *daemon)
    wait(lambda: engine.status("composed", "otus", "status", "--alive").returncode == 0, what="it answers")
    check = service["healthcheck"]["test"]
    assert check[0] == "CMD"
    wait(lambda: engine.status("composed", *check[1:]).returncode == 1, what="it is unhealthy: no broker is there")
    engine.run("stop", "--time=45", "composed")


@pytest.fixture(scope="module")
def folders(engine: Engine, documents: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a kubelet mounts, by the names of the volumes: options of podman without the path inside."""
    root = tmp_path_factory.mktemp("volumes")
    root.chmod(0o755)
    pod = documents["DaemonSet"]["spec"]["template"]["spec"]
    found = {}
    for volume in pod["volumes"]:
        folder = root / volume["name"]
        folder.mkdir(mode=0o755)
        if "emptyDir" in volume:
            folder.chmod(0o2777)
        for item in volume.get("configMap", {}).get("items", []):
            (folder / item["path"]).write_text(documents["ConfigMap"]["data"][item["key"]])
            (folder / item["path"]).chmod(0o644)
        found[volume["name"]] = str(folder)
    for path in [root, *root.parents]:
        path.chmod(path.stat().st_mode | 0o011)
    return found


def mounts(container: dict[str, Any], folders: dict[str, str]) -> list[str]:
    return [
        f"--volume={folders[one['name']]}:{one['mountPath']}{':ro' if one.get('readOnly') else ''}"
        for one in container["volumeMounts"]
    ]


def test_the_daemon_set_captures(engine: Engine, documents: dict[str, Any], folders: dict[str, str]) -> None:
    """One test: each step needs the one before."""
    pod = documents["DaemonSet"]["spec"]["template"]["spec"]
    (first,), (container,) = pod["initContainers"], pod["containers"]
    program, *words = first["command"]
    options = (*security(first, pod), *mounts(first, folders), f"--entrypoint={program}")
    engine.start("--rm", *options, NAME, *words)
    data = Path(folders["data"]).stat()
    assert (data.st_uid, data.st_mode & 0o777) == (10001, 0o700)

    environment = [f"--env={entry['name']}=192.0.2.1" for entry in container["env"]]
    program = (f"--entrypoint={PLAIN[0]}", NAME, *PLAIN[1:], "otus", *container["args"])
    given = (*security(container, pod), *mounts(container, folders), *environment)
    engine.start("--detach", "--name=agent", "--health-interval=disable", *given, *program)

    status = partial(engine.status, "agent")

    probe = container["startupProbe"]["exec"]["command"]
    wait(lambda: status(*probe).returncode == 0, what="the startup probe")
    assert status(*container["livenessProbe"]["exec"]["command"]).returncode == 0
    ready = container["readinessProbe"]["exec"]["command"]
    wait(lambda: status(*ready).returncode == 1, what="the readiness probe fails, because there is no broker")
    assert "kafka" in status(*ready).stdout
    assert engine.run("healthcheck", "run", "agent") in ("", "healthy\n")

    def frames() -> int:
        asked = status("otus", "--output", "json", "task", "status", "sip")
        return int(json.loads(asked.stdout)["counters"]["matched"]) if asked.returncode == 0 else 0

    def sent() -> bool:
        send = f"import socket; socket.socket(2, 2).sendto({OPTIONS!r}, ('127.0.0.1', 5060))"
        subprocess.run([*engine.enter, "python3", "-c", send], check=True)
        return frames() > 0

    wait(sent, what="a message is captured")
    engine.run("stop", "--time", str(pod["terminationGracePeriodSeconds"]), "agent")
    assert engine.run("inspect", "--format", "{{.State.ExitCode}}", "agent").strip() == "0"
