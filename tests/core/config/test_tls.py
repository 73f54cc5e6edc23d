"""The contexts that the options of TLS come to: both sides prove who they are; files that are of no use are named."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

import pytest

from otus_core import ConfigInvalid, TlsConfig, TlsOptions, client_tls, server_tls
from tests.hep.servers import make_certificates


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_certificates(tmp_path_factory.mktemp("tls"))
    secured = ["openssl", "ec", "-aes256", "-passout", "pass:right", "-in", "client.key", "-out", "secured.key"]
    subprocess.run(secured, cwd=folder, check=True, capture_output=True)
    (folder / "right").write_text("right\n")
    (folder / "wrong").write_text("wrong\n")
    os.mkfifo(folder / "pipe")
    return folder


def options(folder: Path, **names: str) -> TlsConfig:
    return TlsConfig(**{name: str(folder / value) for name, value in names.items()})


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """Have both sides agree, in memory. Raises ssl.SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=host)
    asked = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (asking, asked):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    asked.write(b"x")
    assert asking.read(1) == b"x"


def test_both_sides_prove_who_they_are(files: Path) -> None:
    server = server_tls(options(files, cert_file="server.pem", key_file="server.key", ca_file="ca.pem"))
    known = options(files, ca_file="ca.pem", cert_file="client.pem", key_file="secured.key", password_file="right")
    shake_hands(client_tls(known), server, "localhost")
    with pytest.raises(ssl.SSLError, match=r"(?i)hostname"):
        shake_hands(client_tls(known), server, "elsewhere.test")
    unnamed = TlsOptions(
        ca_file=known.ca_file,
        cert_file=known.cert_file,
        key_file=known.key_file,
        password_file=known.password_file,
        verify_hostname=False,
    )
    shake_hands(client_tls(unnamed), server, "elsewhere.test")
    with pytest.raises(ssl.SSLError):
        shake_hands(client_tls(options(files, ca_file="ca.pem")), server, "localhost")
    assert client_tls(known).minimum_version is server.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("side", [client_tls, server_tls])
@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"ca_file": "none"}, "none"),
        ({"ca_file": "pipe"}, "pipe.*not a regular file"),
        ({"cert_file": "client.pem", "key_file": "server.key"}, "client.pem, .*server.key cannot be used"),
        ({"cert_file": "client.pem", "key_file": "secured.key"}, "secured.key cannot be used"),
        (
            {"cert_file": "client.pem", "key_file": "secured.key", "password_file": "wrong"},
            "secured.key cannot be used",
        ),
        ({"cert_file": "client.pem", "key_file": "secured.key", "password_file": "pipe"}, "pipe.*not a regular file"),
    ],
    ids=["no file", "a pipe", "another's key", "no password", "a wrong password", "a password in a pipe"],
)
def test_files_that_cannot_be_used_are_named(side, names: dict[str, str], said: str, files: Path) -> None:  # type: ignore[no-untyped-def]
    """At once: nothing waits at a pipe, and nothing asks for a password on the terminal."""
    with pytest.raises(ValueError, match=said):
        side(options(files, **names))


def test_a_key_needs_its_certificate() -> None:
    with pytest.raises(ConfigInvalid, match="cert_file"):
        TlsConfig(key_file="k")
    TlsOptions(key_file="k")  # which may get it from elsewhere
