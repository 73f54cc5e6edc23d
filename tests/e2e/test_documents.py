"""Task documents as people paste them: the plan's own, in a file, over the socket; checked with a daemon's defaults;
shown again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.node import Node
from tests.live.net import run_otus

EXAMPLE = Path(__file__).parents[2] / "examples" / "call.pcap"
TASK: dict[str, Any] = {
    "id": "pasted",
    "capture": {"type": "pcap", "files": [str(EXAMPLE)], "bpf_filter": "udp port 5060", "speed": 0.01},
    "decoder": {"tunnels": ["vxlan"], "ip_reassembly": True},
    "parsers": ["sip"],
    "processors": [{"type": "filter", "config": {"drop_if": "sip.method == 'OPTIONS'"}}],
    "reporters": [{"type": "discard"}],
}
PLAN = {"command": "task_create", "task": TASK}


@pytest.fixture
def node(node: Node) -> Node:
    node.start()
    return node


@pytest.mark.parametrize(
    "params",
    [{"config": TASK}, {"config": PLAN}, {"config": {"task": TASK}}, {"task": TASK}, PLAN, TASK],
    ids=["documented", "plan below config", "task below config", "task", "plan", "bare"],
)
def test_a_task_is_created_from_every_form_that_is_pasted(node: Node, params: dict[str, Any]) -> None:
    answer = node.rpc("task_create", **params)
    assert answer.get("result") == {"task_id": "pasted", "status": "created"}, answer
    shown = node.rpc("task_get", task_id="pasted")["result"]
    assert shown["config"]["processors"] == TASK["processors"]
    assert node.rpc("task_delete", task_id="pasted")["result"]["status"] == "deleted"


@pytest.mark.parametrize("document", [PLAN, {"config": TASK}, {"config": PLAN}, {"task": TASK}, TASK])
def test_every_form_that_is_pasted_works_as_a_file(node: Node, tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(document))
    assert run_otus("validate", "-f", str(tmp_path / "plan.json")).returncode == 0
    status, answer, _ = node.call("task", "create", "-f", str(tmp_path / "plan.json"))
    assert (status, answer) == (0, {"task_id": "pasted", "status": "created"})
    shown = node.call("task", "show", "pasted")[1]
    assert shown["config"]["capture"] == TASK["capture"]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"config": {**TASK, "workerz": 2}}, "workerz"),
        ({"config": {**TASK, "capture": {**TASK["capture"], "bpf_filter": "udp prot 5060"}}}, "capture.bpf_filter"),
        ({"config": {**TASK, "reporters": [{"type": "kafak"}]}}, "reporters[0].type"),
    ],
)
def test_a_wrong_task_is_wrong_params_and_says_which_key(node: Node, params: dict[str, Any], path: str) -> None:
    error = node.rpc("task_create", **params)["error"]
    assert error["code"] == -32602
    assert [problem["path"] for problem in error["data"]["problems"]] == [path]
    assert path in error["message"]


def test_params_without_a_task_say_what_is_wanted(node: Node) -> None:
    assert node.rpc("task_create", konfig={})["error"] == {
        "code": -32602,
        "message": "params.config: is required: the task, as an object",
    }


@pytest.mark.parametrize(
    ("method", "params", "problems"),
    [
        ("task_start", {}, ["task_id: is required"]),
        (
            "task_delete",
            {"task_id": 7, "discard": "yes", "discrad": True},
            [
                "discrad: unknown key; did you mean discard?",
                "task_id: expected text, got the integer 7",
                'discard: expected true or false, got the text "yes"',
            ],
        ),
        ("task_prune", {"keep": ["a", 1]}, ["keep[1]: expected text, got the integer 1"]),
        ("task_status", {"task_id": True}, ["task_id: expected text or null, got true"]),
        ("daemon_status", {"task_id": "a"}, ["task_id: unknown key; nothing can be set here"]),
    ],
)
def test_all_that_is_wrong_with_params_is_told_at_once(
    node: Node, method: str, params: dict[str, Any], problems: list[str]
) -> None:
    error = node.rpc(method, **params)["error"]
    assert error["code"] == -32602
    told = [f"{problem['path']}: {problem['message']}" for problem in error["data"]["problems"]]
    assert told == [f"params.{problem}" for problem in problems]
    assert error["message"].splitlines() == told


def test_validate_sees_what_create_sees(node: Node, tmp_path: Path) -> None:
    """A Kafka task without brokers is valid only where the daemon has them."""
    task = {**TASK, "reporters": [{"type": "kafka", "config": {"topic": "sip"}}]}
    (tmp_path / "task.json").write_text(json.dumps(task))
    without = run_otus("validate", "-f", str(tmp_path / "task.json"))
    assert without.returncode == 2
    assert "reporters[0].config.brokers" in without.stderr
    config = tmp_path / "with.yml"
    config.write_text("otus: {kafka: {brokers: ['127.0.0.1:9092']}}\n")
    assert run_otus("validate", "-f", str(tmp_path / "task.json"), "-c", str(config)).returncode == 0


def test_run_takes_the_daemons_defaults(tmp_path: Path) -> None:
    """GTP-U is looked into because the daemon's configuration says so."""
    (tmp_path / "task.json").write_text(json.dumps({**TASK, "capture": {**TASK["capture"], "speed": 0}, "decoder": {}}))
    (tmp_path / "bad.yml").write_text("otus: {backpressure: {send_buffer: {capacity: 0}}}\n")
    (tmp_path / "good.yml").write_text("otus: {backpressure: {send_buffer: {capacity: 7}}}\n")
    run = ("run", "--task", str(tmp_path / "task.json"))
    assert run_otus(*run, "-c", str(tmp_path / "good.yml")).returncode == 0
    refused = run_otus(*run, "-c", str(tmp_path / "bad.yml"))
    assert refused.returncode == 2
    assert "otus.backpressure.send_buffer.capacity" in refused.stderr


def test_validate_warns_of_what_this_node_lacks(tmp_path: Path) -> None:
    task = {
        **TASK,
        "workers": 200,
        "cpu_affinity": [4000],
        "capture": {"type": "afpacket", "interface": "nosuch0", "bpf_filter": "udp port 5060"},
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    done = run_otus("validate", "-f", str(tmp_path / "task.json"), "--output", "json")
    assert done.returncode == 0, done.stderr
    keys = [warning.partition(":")[0] for warning in json.loads(done.stdout)["warnings"]]
    assert keys == ["workers", "cpu_affinity", "capture.interface"]


def test_validate_compiles_the_capture_filter(tmp_path: Path) -> None:
    task = {**TASK, "capture": {**TASK["capture"], "bpf_filter": "udp port 5060 and ("}}
    (tmp_path / "task.json").write_text(json.dumps(task))
    done = run_otus("validate", "-f", str(tmp_path / "task.json"), "--output", "json")
    assert done.returncode == 2
    (problem,) = json.loads(done.stderr)["error"]["problems"]
    assert problem["path"] == "capture.bpf_filter"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("task", "list"), 3), (("task", "creat"), 2), (("validate", "-f", "/nonexistent.yml"), 2)],
)
def test_errors_are_json_where_json_is_wanted(tmp_path: Path, arguments: tuple[str, ...], status: int) -> None:
    done = run_otus("--socket", str(tmp_path / "none.sock"), "--output", "json", *arguments)
    assert done.returncode == status
    assert done.stdout == ""
    assert json.loads(done.stderr)["error"]["message"]


def test_a_task_is_shown_without_its_secrets(node: Node) -> None:
    sasl = {"enabled": True, "mechanism": "PLAIN", "username": "otus", "password_file": "/etc/otus/secret"}
    kafka = {"type": "kafka", "id": "k", "config": {"brokers": ["127.0.0.1:1"], "topic": "sip", "sasl": sasl}}
    node.rpc("task_create", **{**TASK, "reporters": [kafka], "processors": []})
    status, _, _ = node.call("task", "show", "pasted")
    assert status == 0
    text = run_otus("--socket", f"{node.folder}/o.sock", "task", "show", "pasted").stdout
    assert yaml.safe_load(text)["reporters"][0]["config"]["sasl"]["username"] == "otus"


def test_the_configuration_in_force_is_shown_without_its_secrets(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    sasl = "sasl: {enabled: true, mechanism: PLAIN, username: otus, password: open-sesame}"
    config.write_text(
        "otus:\n  node: {hostname: edge-1, ip: 127.0.0.1}\n"
        f"  kafka: {{brokers: ['127.0.0.1:9092'], {sasl}}}\n  reporters: {{kafka: {{topic: sip, {sasl}}}}}\n"
    )
    config.chmod(0o600)
    for extra in ((), ("--effective",)):
        done = run_otus("config", "show", "-c", str(config), *extra)
        assert done.returncode == 0, done.stderr
        assert "open-sesame" not in done.stdout
        shown = yaml.safe_load(done.stdout)["otus"]
        assert shown["kafka"]["sasl"]["username"] == "otus"
        assert shown["reporters"]["kafka"]["sasl"]["password"] == "********"
    assert shown["metrics"]["path"] == "/metrics"  # a default, which only --effective shows
