"""TLS and the login of the metrics endpoint, as curl sees them; who has neither gets nothing, and keeps nobody out."""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import needs
from tests.e2e.node import Node
from tests.live.net import OTUS
from tests.patience import PATIENCE_S, wait

SILENT = 40
UNAUTHORIZED = 'otus_metrics_connections_closed_total{reason="unauthorized"}'


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself; gives its file and its key's."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}")
    named = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert)
    subprocess.run([needs.tool("openssl"), "req", "-x509", *made, *named], check=True, capture_output=True)
    return cert, key


def configure(node: Node, tls: str = "", login: str = "") -> None:
    metrics = f"listen: '127.0.0.1:{node.port}'"
    metrics += f", tls: {{{tls}}}" if tls else ""
    metrics += f", basic_auth: {{{login}}}" if login else ""
    written = node.config.read_text().splitlines()
    kept = [line for line in written if not line.startswith("  metrics:")]
    node.config.write_text("\n".join([*kept, f"  metrics: {{{metrics}}}", ""]))


def curl(node: Node, *arguments: object, scheme: str = "https") -> tuple[int, str]:
    """Give the status, 0 without an answer, and the text."""
    url = f"{scheme}://127.0.0.1:{node.port}/metrics"
    command = [needs.tool("curl"), "-sS", "-m", "30", "-w", "\n%{http_code}", *map(str, arguments), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def test_a_login_is_asked_for(node: Node, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("grün:1\n")
    configure(node, login=f"username: prometheus, password_file: {secret}")
    node.start()
    answers = [
        curl(node, *login, scheme="http")[0]
        for login in ((), ("-u", "prometheus:wrong"), ("-u", "other:grün:1"), ("-H", "Authorization: Basic %%%"))
    ]
    assert answers == [401] * 4
    status, text = curl(node, "-u", "prometheus:grün:1", scheme="http")
    assert (status, f"{UNAUTHORIZED} 4.0" in text) == (200, True)
    secret.write_text("new")
    assert node.call("reload")[0] == 0
    assert [curl(node, "-u", f"prometheus:{one}", scheme="http")[0] for one in ("new", "grün:1")] == [200, 401]


def test_metrics_are_served_over_tls_while_others_say_nothing(node: Node, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "one")
    configure(node, tls=f"cert_file: {cert}, key_file: {key}")
    node.start()
    with ExitStack() as stack:
        for n in range(SILENT):  # none of them begins its handshake, or goes on with it
            there, here = ("127.0.0.1", node.port), ("127.0.0.2", 0)
            client = stack.enter_context(socket.create_connection(there, PATIENCE_S, here))
            client.sendall(b"\x16\x03\x01\x02\x00" if n % 2 else b"")
        status, text = curl(node, "--cacert", cert)
        assert (status, "otus_build_info" in text) == (200, True)
    assert curl(node, scheme="http")[0] == 0
    other, other_key = certificate(tmp_path, "two")
    cert.write_bytes(other.read_bytes())
    assert node.call("reload")[0] == 0  # certificate and key do not fit: what was there still serves
    wait(lambda: any(entry["event"] == "metrics_not_renewed" for entry in node.log()), what="it is told")
    assert curl(node, "-k")[0] == 200
    key.write_bytes(other_key.read_bytes())
    assert node.call("reload")[0] == 0
    assert curl(node, "--cacert", other)[0] == 200


def test_only_clients_with_a_certificate_are_served_where_that_is_asked(node: Node, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "server")
    client, client_key = certificate(tmp_path, "client")
    stranger, stranger_key = certificate(tmp_path, "stranger")
    configure(node, tls=f"cert_file: {cert}, key_file: {key}, client_ca_file: {client}")
    node.start()
    assert curl(node, "--cacert", cert)[0] == 0
    assert curl(node, "--cacert", cert, "--cert", stranger, "--key", stranger_key)[0] == 0
    assert curl(node, "--cacert", cert, "--cert", client, "--key", client_key)[0] == 200


@pytest.mark.parametrize(
    ("tls", "login", "status", "told"),
    [
        ("cert_file: /nowhere", "", 1, "metrics.tls: /nowhere cannot be used"),
        ("", "username: a, password_file: /nowhere", 1, "metrics.basic_auth: /nowhere: No such file"),
        ("", "username: a", 2, "otus.metrics.basic_auth.password_file: give either this or password"),
        ("", "username: 'a:b', password: c", 2, "otus.metrics.basic_auth.username"),
    ],
    ids=["no certificate", "no password", "neither password", "colon"],
)
def test_what_cannot_work_is_told_at_start(node: Node, tls: str, login: str, status: int, told: str) -> None:
    configure(node, tls, login)
    done = subprocess.run(
        [OTUS, "daemon", "-c", str(node.config)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, told in done.stderr) == (status, True), done.stderr
