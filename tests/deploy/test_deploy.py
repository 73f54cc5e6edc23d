"""What is in deploy/ is sound: the unit is tight, the metrics that alerts and panels ask for exist, the shipped
configuration is the one in the code.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from otus_core.config.daemon import DaemonConfig
from otus_core.config.effective import effective_from
from otus_core.config.load import load_file
from otus_core.config.shipped import config_schema, shipped_config
from otus_core.plugins.loader import load as load_plugins
from tests import needs
from tests.live.net import run_otus

SECTIONS = load_plugins().config_sections()
DEPLOY = needs.ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "otus.service"
EXPOSURE_MAX = 2.0


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def test_the_units_exposure_is_low() -> None:
    done = subprocess.run(
        [
            needs.tool("systemd-analyze"),
            "security",
            "--offline=true",
            f"--threshold={int(EXPOSURE_MAX * 10)}",
            str(UNIT),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for otus.service: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE_MAX
    assert done.returncode == 0


def test_the_unit_is_valid(tmp_path: Path) -> None:
    unit = tmp_path / "otus.service"
    unit.write_text(UNIT.read_text().replace("/opt/otus/current/bin/otus", "/bin/true"))
    done = subprocess.run(
        [needs.tool("systemd-analyze"), "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if "otus.service" in line] == []


def test_the_unit_gives_one_capability() -> None:
    lines = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#")
    assert lines["AmbientCapabilities"] == lines["CapabilityBoundingSet"] == "CAP_NET_RAW"
    assert (lines["Type"], lines["User"]) == ("notify", "otus")


def test_the_agent_ends_with_a_task_that_captures(tmp_path: Path) -> None:
    """The shipped task is valid with the shipped configuration, brokers named as the README says; so is the
    DaemonSet's.
    """
    named = tmp_path / "config.yml"
    command = next(line for line in (DEPLOY / "README.md").read_text().splitlines() if "sed -i" in line)
    expression = re.search(r"'(s/.*/)'", command)
    assert expression
    edited = subprocess.run(
        ["sed", expression[1], str(DEPLOY / "config.yml")], capture_output=True, text=True, check=True
    )
    named.write_text(edited.stdout)
    named.chmod(0o600)
    (config_map,) = [d for d in documents(DEPLOY / "kubernetes" / "daemonset.yaml") if d["kind"] == "ConfigMap"]
    theirs = tmp_path / "theirs.yml"
    theirs.write_text(config_map["data"]["config.yml"])
    task = tmp_path / "sip.yaml"
    task.write_text(config_map["data"]["sip.yaml"])
    for file, config in ((DEPLOY / "tasks.d" / "sip.yaml", named), (task, theirs)):
        done = run_otus("validate", "-f", str(file), "-c", str(config))
        assert done.returncode == 0, done.stderr
        assert "capture afpacket; parsers sip; reporters kafka" in done.stdout


def test_only_ended_tasks_go_by_age() -> None:
    aged = [
        line.split()[1]
        for line in (DEPLOY / "systemd" / "otus.tmpfiles.conf").read_text().splitlines()
        if line and line[0] != "#" and line.split()[-1] != "-"
    ]
    assert aged == ["/var/lib/otus/tasks/finished"]


@pytest.mark.parametrize(("tool", "name"), [("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")])
def test_systemd_takes_the_files(tool: str, name: str, tmp_path: Path) -> None:
    for folder in ("etc", "run", "var"):
        (tmp_path / folder).mkdir()
    (tmp_path / "etc" / "passwd").write_text("otus:x:990:990::/:/bin/false\nroot:x:0:0::/:/bin/false\n")
    (tmp_path / "etc" / "group").write_text("otus:x:990:\nroot:x:0:\n")
    options = ["--create"] if name == "tmpfiles" else []
    done = subprocess.run(
        [needs.tool(tool), f"--root={tmp_path}", *options, str(DEPLOY / "systemd" / f"otus.{name}.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_shipped_configuration_is_the_one_in_the_code() -> None:
    text = (DEPLOY / "config.yml").read_text()
    assert text == shipped_config(SECTIONS), "otus config sample > deploy/config.yml"
    data = load_file(DEPLOY / "config.yml")
    shipped = effective_from(data, "config.yml", {"OTUS_NODE_IP": "192.0.2.1"}, SECTIONS).config
    default = DaemonConfig()
    assert (shipped.log, shipped.metrics, shipped.reporters) == (default.log, default.metrics, default.reporters)
    jsonschema.validate(data, config_schema(SECTIONS))


def test_alerts_are_whole() -> None:
    (rules,) = documents(DEPLOY / "prometheus" / "alerts.yml")
    found = [rule for group in rules["groups"] for rule in group["rules"]]
    assert {"alert", "expr", "labels", "annotations"} <= set.intersection(*(set(rule) for rule in found))
    (down,) = (rule["expr"] for rule in found if rule["alert"] == "OtusPluginDown")
    assert 'stage!="disabled"' in down  # what was left out by intention is nobody's alarm


def test_panels_stand_apart() -> None:
    panels = json.loads((DEPLOY / "grafana" / "otus.json").read_text())["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len({panel["id"] for panel in panels}) == len(places) == len(panels) >= 10


def test_compose_names_what_is_there() -> None:
    (compose,) = documents(DEPLOY / "docker" / "compose.yml")
    otus = compose["services"]["otus"]
    assert (DEPLOY / "docker" / otus["build"]["context"] / otus["build"]["dockerfile"]).is_file()
    assert (otus["cap_drop"], otus["cap_add"], otus["network_mode"]) == (["ALL"], ["NET_RAW"], "host")
    environment = {**otus["environment"], "OTUS_NODE_IP": "192.0.2.1"}
    config: Any = effective_from({"otus": {}}, "compose", environment, SECTIONS).config
    assert config.command_channel.enabled
    assert config.command_channel.kafka["brokers"] == ["127.0.0.1:9092"]


def test_the_image_has_every_distribution() -> None:
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (otus-\S+)", text, re.MULTILINE))
    assert copied == {path.parent.name for path in needs.ROOT.glob("otus-*/pyproject.toml")}
    assert re.search(r"^USER 10001$", text, re.MULTILINE)


def test_the_daemon_set_is_whole() -> None:
    kinds = {document["kind"]: document for document in documents(DEPLOY / "kubernetes" / "daemonset.yaml")}
    pod = kinds["DaemonSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["hostNetwork"] is True
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    data = yaml.safe_load(kinds["ConfigMap"]["data"]["config.yml"])
    names = {entry["name"]: "192.0.2.1" for entry in container["env"]}
    channel = effective_from(data, "config map", names, SECTIONS).config.command_channel
    assert channel.enabled and channel.kafka["signing"]["required"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert channel.kafka["signing"]["keys_file"] == f"{mounts['keys']}/keys"


def test_the_playbooks_are_understood(tmp_path: Path) -> None:
    folder = DEPLOY / "ansible"
    names = [str(folder / f"{name}.yml") for name in ("tasks", "upgrade")]
    program = Path(sys.executable).with_name("ansible-playbook")
    if not program.exists():
        needs.lacking("ansible-core is not installed (it is among the tools that `nox -s tests` installs)")
    done = subprocess.run(
        [program, "--syntax-check", "-i", folder / "inventory.ini", *names],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(tmp_path)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line] == [f"playbook: {name}" for name in names]


def test_the_playbook_starts_the_old_version_again_where_the_new_one_is_not_well() -> None:
    """What is switched is the link that the unit starts, and it is switched back before anything else is done."""
    ((play,),) = documents(DEPLOY / "ansible" / "upgrade.yml")
    switch = play["tasks"][-1]
    assert play["max_fail_percentage"] == 0
    assert f"ExecStart={play['vars']['otus_link']}/bin/otus " in UNIT.read_text()
    links = [step["ansible.builtin.file"]["src"] for step in (switch["block"][0], switch["rescue"][0])]
    assert links == ["{{ otus_new }}", "{{ otus_old.stat.lnk_source }}"]


def test_the_guide_gives_a_reason_for_each_exposure() -> None:
    """Each row that lowers the rating stands in the table, and no other."""
    done = subprocess.run(
        [needs.tool("systemd-analyze"), "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    exposed = {line.split()[1] for line in done.stdout.splitlines() if line.lstrip().startswith("✗")}
    assert exposed
    guide = (needs.ROOT / "docs" / "install.md").read_text()
    table = guide.partition("| row of `systemd-analyze security` |")[2].partition("\n\n")[0].replace("\\|", "|")
    named = {name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])}
    short = {re.sub(r"CAP_NET_\(\S*RAW\)|CAP_NET_\(…RAW\)", "CAP_NET_RAW", name) for name in named}
    full = {re.sub(r"CAP_NET_\(\S*RAW\)", "CAP_NET_RAW", name).replace("/RootImage=", "") for name in exposed}
    assert short == full
