"""Who may ask for the metrics: TLS, and a login (RFC 7617).

In: the configuration. Out: a TLS context, and whether a request's Authorization names the login. Files are read again
at each ``renew``, because certificates run out.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ssl

from otus_core.config.daemon import LoginConfig, ServerTlsConfig
from otus_core.config.tls import TlsOptions, server_tls
from otus_core.errors import OtusError
from otus_core.folders import read_secret


class Access:
    """What is asked of whoever asks. Raises OtusError when a file cannot be used."""

    def __init__(self, tls: ServerTlsConfig | None = None, login: LoginConfig | None = None) -> None:
        self._tls = tls
        self._login = login
        self.context: ssl.SSLContext | None = None
        self._expected: bytes | None = None
        self.renew()

    def renew(self) -> None:
        """Read certificate and password again; what was there stays where that fails. Raises OtusError."""
        # Both are made before either is put in place: a half-renewed endpoint would match neither file.
        context = None if self._tls is None else _context(self._tls)
        expected = None if self._login is None else f"{self._login.username}:{_password(self._login)}".encode()
        self.context, self._expected = context, expected

    def admits(self, authorization: str) -> bool:
        """Whether a header's value is that of the login; always where none is asked for."""
        if self._expected is None:
            return True
        scheme, _, credentials = authorization.partition(" ")
        try:
            # Strictly: without ``validate`` Python skips what is not of the alphabet, so that many texts would be one
            # login.
            given = base64.b64decode(credentials.strip().encode("ascii"), validate=True)
        except (binascii.Error, ValueError):
            return False
        # RFC 7235 §2.1: the scheme's case does not matter. compare_digest takes the same time wherever the two differ.
        return scheme.lower() == "basic" and hmac.compare_digest(given, self._expected)


def _context(tls: ServerTlsConfig) -> ssl.SSLContext:
    try:
        return server_tls(TlsOptions(cert_file=tls.cert_file, key_file=tls.key_file, ca_file=tls.client_ca_file))
    except ValueError as error:
        raise OtusError(f"metrics.tls: {error}") from None


def _password(login: LoginConfig) -> str:
    if not login.password_file:
        return login.password
    try:
        return read_secret(login.password_file)
    except (OSError, ValueError) as error:
        raise OtusError(f"metrics.basic_auth: {error}") from None
