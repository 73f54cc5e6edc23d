"""TLS as options say it: the options that components share, and what the module ``ssl`` makes of them, for both sides
of a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otus_core.config.fields import configuration, option
from otus_core.errors import ConfigInvalid, ConfigProblem
from otus_core.folders import read_secret, require_regular

if TYPE_CHECKING:
    import ssl


@configuration
class TlsOptions:
    """How connections are secured; not yet whole, as in a section that several components inherit."""

    ca_file: str = option(default="", help="PEM file with the authorities to trust. Empty: the system's.")
    cert_file: str = option(default="", help="PEM file with this side's certificate.")
    key_file: str = option(
        default="", secret_file=True, help="PEM file with this side's key. Empty: it is in cert_file."
    )
    password_file: str = option(default="", secret_file=True, help="File that holds the key's password.")
    verify_hostname: bool = option(default=True, help="Whether the server's certificate must name its host.")


@configuration
class TlsConfig(TlsOptions):
    """How connections are secured."""

    def __attrs_post_init__(self) -> None:
        if self.key_file and not self.cert_file:
            raise ConfigInvalid([ConfigProblem("cert_file", "is required where there is a key_file")])


def client_tls(tls: TlsOptions) -> ssl.SSLContext:
    """Give the context of connections that we open. Raises ValueError, which names the files that cannot be used."""
    import ssl  # late: each command imports the options, and most have nothing to do with TLS

    try:
        require_regular(*_named(tls))
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        context.check_hostname = tls.verify_hostname
        _prove(context, tls)
    except (OSError, ValueError) as error:
        raise _refusal(tls, error) from None
    return context


def server_tls(tls: TlsOptions) -> ssl.SSLContext:
    """Give the context of connections that we accept. Raises ValueError, which names the files that cannot be used.

    With a ``ca_file``, callers must have a certificate of that authority.
    """
    import ssl

    try:
        require_regular(*_named(tls))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _prove(context, tls)
        if tls.ca_file:
            context.load_verify_locations(tls.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise _refusal(tls, error) from None
    return context


def _prove(context: ssl.SSLContext, tls: TlsOptions) -> None:
    """Load what shows who we are, if there is such a thing."""
    import ssl

    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996: 1.0 and 1.1 must not be used
    if tls.cert_file:
        # With no password given, OpenSSL would ask for one on the terminal. A key without protection needs none, and a
        # wrong one is an error.
        password = read_secret(tls.password_file) if tls.password_file else ""
        context.load_cert_chain(tls.cert_file, tls.key_file or None, password)


def _named(tls: TlsOptions) -> list[str]:
    return [name for name in (tls.ca_file, tls.cert_file, tls.key_file) if name]


def _refusal(tls: TlsOptions, error: Exception) -> ValueError:
    """Name the files, which errors of OpenSSL do not."""
    return ValueError(f"{', '.join(_named(tls))} cannot be used: {error}")
