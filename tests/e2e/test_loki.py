"""A real daemon's log at a Loki that wants a login: a small HTTP server that looks at every header."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import Node
from tests.live.net import run_otus
from tests.loki import Loki
from tests.patience import wait

PASSWORD = "pa:ss wörd "
TOKEN = "eyJ0b2tlbiI6MX0"


@pytest.fixture
def loki() -> Iterator[Loki]:
    made = Loki()
    yield made
    made.close()


def pushes_to(node: Node, loki: Loki, **options: Any) -> None:
    about = json.dumps({"enabled": True, "endpoint": loki.url, "batch_timeout": "50ms", **options})
    node.config.write_text(node.config.read_text().replace("outputs: {", f"outputs: {{loki: {about}, "))


def test_a_login_a_tenant_and_the_node_s_label(node: Node, loki: Loki, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    pair = base64.b64encode(f"otus:{PASSWORD}".encode()).decode()
    loki.wanted = {"Authorization": f"Basic {pair}", "X-Scope-OrgID": "voice|sip", "Content-Type": "application/json"}
    login = {"username": "otus", "password_file": str(tmp_path / "password")}
    pushes_to(node, loki, tenant="voice|sip", basic_auth=login, labels={"app": "otus", "site": "vienna"})
    node.start()
    node.rpc("task_delete", task_id="audited")
    wait(lambda: "command_executed" in loki.events(), what="Loki has it")
    assert loki.refused == []
    assert {json.dumps(stream, sort_keys=True) for stream in loki.streams} == {
        '{"app": "otus", "node": "edge-1", "site": "vienna"}'
    }
    assert {entry["node"] for entry in loki.entries} == {"edge-1"}
    shown = run_otus("config", "show", "--effective", "-c", str(node.config)).stdout
    assert str(tmp_path / "password") in shown
    told = [shown, (node.folder / "otus.log").read_text(), (node.folder / "errors").read_text()]
    assert not [text for text in told if "pa:ss" in text or pair in text]


def test_a_token_that_is_wrong_is_said_and_a_new_one_taken_up(node: Node, loki: Loki, tmp_path: Path) -> None:
    """Nothing is lost meanwhile: a login can be put right."""
    loki.wanted = {"Authorization": f"Bearer {TOKEN}"}
    token = tmp_path / "token"
    pushes_to(node, loki, bearer_token_file=str(token))
    node.start()
    reasons = lambda: [e["reason"] for e in node.log() if e["event"] == "loki_push_failed"]  # noqa: E731
    wait(reasons, what="it is said that there is no token")
    assert reasons() == [f"{token}: No such file or directory"]
    token.write_text("stale\n")
    wait(lambda: loki.refused, what="a push with a wrong token")
    assert loki.refused[0]["Authorization"] == "Bearer stale"
    token.write_text(TOKEN + "\n")
    wait(lambda: "daemon_ready" in loki.events(), what="Loki has it all")
    assert loki.entries[0]["timestamp"] == node.log()[0]["timestamp"]
    assert node.metrics()["otus_log_lines_dropped_total", ()] == 0
    assert "stale" not in (node.folder / "otus.log").read_text()


def test_a_login_does_not_follow_a_redirect(node: Node, loki: Loki, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    thief = Loki()
    try:
        loki.elsewhere = thief.url
        pushes_to(node, loki, bearer_token_file=str(tmp_path / "token"))
        node.start()
        wait(lambda: any(e["event"] == "loki_push_failed" and e["reason"] == "HTTP 302" for e in node.log()))
        assert (thief.entries, thief.refused) == ([], [])
    finally:
        thief.close()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"endpoint": "http://me:secret@loki/push"}, "endpoint: holds a login"),
        ({"basic_auth": {"username": "me"}}, "give either this or password"),
        ({"basic_auth": {"username": "me", "password_file": "/p"}, "bearer_token_file": "/t"}, "give either this or"),
        ({"tenant": "a\nb"}, "tenant"),
        ({"basic_auth": {"username": "a:b", "password": "secret"}}, "username"),
    ],
    ids=["login in the address", "half a login", "two logins", "header in a tenant", "a colon in a user's name"],
)
def test_what_cannot_be_a_login_is_refused(node: Node, options: dict[str, Any], told: str) -> None:
    node.config.write_text(json.dumps({"otus": {"log": {"outputs": {"loki": options}}}}))
    done = run_otus("validate", "-f", str(node.config))
    assert done.returncode != 0
    assert told in done.stderr + done.stdout
    assert "secret" not in done.stderr + done.stdout
