"""A file with a password in it that others can read is warned of: at the start, in ``validate``, in ``config show`` and
in the status.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from otus_core.config.exposed import readers_of
from tests import needs
from tests.e2e.node import Node
from tests.live.net import OTUS
from tests.patience import free_port, wait

PASSWORD = "hunter2-hunter2"


def secrets(node: Node, sasl: str) -> None:
    node.write(
        "info", f"  kafka: {{brokers: ['127.0.0.1:{free_port()}'], sasl: {{enabled: true, username: u, {sasl}}}}}\n"
    )


def validated(node: Node, *command: str) -> str:
    done = subprocess.run([OTUS, *command], capture_output=True, text=True, timeout=60, check=True)
    assert PASSWORD not in done.stdout + done.stderr
    return done.stderr


def status(node: Node) -> str:
    command = [OTUS, "--socket", f"{node.folder}/o.sock", "status"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def logged(node: Node, event: str) -> list[str]:
    return [entry["message"] for entry in node.log() if entry["event"] == event]


def test_a_password_in_a_configuration_that_others_can_read(node: Node) -> None:
    secrets(node, f"password: {PASSWORD}")
    node.config.chmod(0o644)
    warning = f"{node.config} holds otus.kafka.sasl.password and can be read by everybody"
    assert warning in validated(node, "validate", "-f", str(node.config))
    assert warning in validated(node, "config", "show", "-c", str(node.config))
    assert warning in validated(node, "config", "show", "--effective", "-c", str(node.config))
    node.start()
    assert [message for message in logged(node, "configuration") if warning in message]
    assert warning in status(node)
    assert PASSWORD not in status(node) + (node.folder / "otus.log").read_text()
    node.config.chmod(0o600)
    assert "can be read by" not in validated(node, "validate", "-f", str(node.config))
    node.rpc("config_reload")
    assert "can be read by" not in status(node)
    node.config.chmod(0o604)
    node.rpc("config_reload")
    wait(lambda: len(logged(node, "configuration")) == 2, what="a reload says what is new")


def test_a_token_for_loki_that_others_can_read(node: Node) -> None:
    token = node.folder / "token"
    token.write_text(PASSWORD)
    token.chmod(0o644)
    loki = f"{{enabled: true, endpoint: 'http://127.0.0.1:{free_port()}', bearer_token_file: {token}}}"
    node.config.write_text(node.config.read_text().replace("outputs: {", f"outputs: {{loki: {loki}, "))
    warning = f"{token} is otus.log.outputs.loki.bearer_token_file and can be read by everybody"
    assert warning in validated(node, "validate", "-f", str(node.config))
    token.chmod(0o600)
    assert "can be read by" not in validated(node, "validate", "-f", str(node.config))


def test_a_file_of_secrets_that_a_configuration_or_a_task_names(node: Node) -> None:
    ours, theirs = node.folder / "ours", node.folder / "theirs"
    for file in (ours, theirs):
        file.write_text(PASSWORD)
        file.chmod(0o604)
    secrets(node, f"password_file: {ours}")
    node.config.chmod(0o644)  # there is no secret in it
    login = {"enabled": True, "username": "u", "password_file": str(theirs)}
    kafka = {"type": "kafka", "config": {"topic": "t", "brokers": [f"127.0.0.1:{free_port()}"], "sasl": login}}
    (node.folder / "tasks.d").mkdir()
    task = node.folder / "tasks.d" / "t.json"
    capture = {"type": "pcap", "files": [str(needs.ROOT / "examples" / "call.pcap")], "speed": 0.001}
    task.write_text(json.dumps({"id": "t", "capture": capture, "parsers": ["sip"], "reporters": [kafka]}))
    named = f"{ours} is otus.kafka.sasl.password_file and can be read by everybody"
    in_task = f"{theirs} is reporters[0].config.sasl.password_file and can be read by everybody"
    assert validated(node, "validate", "-f", str(node.config)).count("can be read by") == 1
    assert in_task in validated(node, "validate", "-f", str(task), "-c", str(node.config))
    node.start()
    wait(lambda: node.runs("t"), what="the task of the folder runs")
    text = status(node)
    assert named in text and f"task t: {in_task}" in text and text.count("can be read by") == 2
    assert named in logged(node, "configuration")[0] and in_task in logged(node, "task_secret_exposed")[0]
    theirs.chmod(0o600)
    assert "task t:" not in status(node).partition("warnings:")[2]


@pytest.mark.parametrize(
    ("mode", "owner", "group", "readers"),
    [
        (0o600, 0, 0, ""),
        (0o644, 0, 0, "everybody"),
        (0o640, 0, 0, "the group root"),
        (0o640, 0, 60001, ""),  # root gave it to a service's group
        (0o640, 1234, 60001, "the group 60001"),
        (0o604, 1234, 60001, "everybody"),
    ],
)
def test_who_can_read_a_file(tmp_path: Path, mode: int, owner: int, group: int, readers: str) -> None:
    needs.root()
    file = tmp_path / "f"
    file.touch()
    os.chown(file, owner, group)
    file.chmod(mode)
    (tmp_path / "link").symlink_to(file)
    assert (readers_of(file), readers_of(tmp_path / "link")) == (readers, readers)
    assert readers_of(tmp_path) == readers_of(tmp_path / "none") == ""
